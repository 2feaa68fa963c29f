//! Owners of mock instances: order of steps, undo, who is told what. No root needed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use lxd_model::ErrorKind;
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::drivers::mock::{Behaviour, MockDriver};
use crate::drivers::{Saved, Saving, Target};
use crate::hooks::Hooks;
use crate::instance::tests::plain;
use crate::instance::{Instance, Key};
use crate::lifecycle::Phase;
use crate::limits::Machine;
use crate::lxd_helper::Helper;
use crate::ports::{
    CustomVolume, Forward, Network, NicDevice, NicHost, PortError, PortResult, RootVolume, Storage,
};
use crate::{Cause, Error, Event, Instances, Stop};

#[derive(Default)]
struct Ports {
    log: Mutex<Vec<String>>,
    /// The call that fails.
    failing: Mutex<&'static str>,
    /// The name on the host by which cards were put away.
    put_away: Mutex<Vec<String>>,
}

impl Ports {
    fn call<T>(&self, name: &'static str, value: T) -> BoxFuture<'_, PortResult<T>>
    where
        T: Send + 'static,
    {
        self.log.lock().push(name.into());
        let fails = *self.failing.lock() == name;
        Box::pin(async move {
            match fails {
                true => Err(PortError::new(
                    ErrorKind::Internal,
                    format!("{name} was told to fail"),
                )),
                false => Ok(value),
            }
        })
    }
}

impl Storage for Ports {
    fn mount_root<'a>(&'a self, _: &'a Instance) -> BoxFuture<'a, PortResult<RootVolume>> {
        let volatile = vec![("volatile.x".into(), "1".into())];
        self.call(
            "mount",
            RootVolume {
                rootfs: "/root".into(),
                needs_idmap: false,
                volatile,
            },
        )
    }

    fn unmount_root<'a>(&'a self, _: &'a Instance) -> BoxFuture<'a, PortResult<()>> {
        self.call("unmount", ())
    }

    fn mount_volume<'a>(
        &'a self,
        _: &'a Instance,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, PortResult<CustomVolume>> {
        let volume = CustomVolume {
            path: "/nonexistent".into(),
            needs_idmap: true,
        };
        self.call("mount volume", volume)
    }

    fn unmount_volume<'a>(
        &'a self,
        _: &'a Instance,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, PortResult<()>> {
        self.call("unmount volume", ())
    }
}

impl Network for Ports {
    fn prepare_nic<'a>(&'a self, _: NicDevice<'a>) -> BoxFuture<'a, PortResult<NicHost>> {
        self.call("prepare", NicHost::default())
    }

    fn nic_started<'a>(&'a self, _: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        self.call("started", ())
    }

    fn nic_stopped<'a>(&'a self, nic: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        self.put_away.lock().push(nic.host_name.to_owned());
        self.call("stopped", ())
    }

    fn nic_changed<'a>(&'a self, _: NicDevice<'a>, _: NicDevice<'a>) -> BoxFuture<'a, PortResult<()>> {
        self.call("changed", ())
    }

    fn forward<'a>(
        &'a self,
        _: &'a Instance,
        _: &'a str,
        _: Option<&'a Forward>,
    ) -> BoxFuture<'a, PortResult<()>> {
        self.call("forward", ())
    }
}

struct World {
    instances: Instances,
    events: UnboundedReceiver<Event>,
    driver: Arc<MockDriver>,
    ports: Arc<Ports>,
    instance: Instance,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (driver, ports) = (Arc::new(MockDriver::default()), Arc::new(Ports::default()));
        let hooks = Arc::new(Hooks::listen(&folder.path().join("hooks")).unwrap());
        let machine = Machine {
            memory: 1 << 30,
            processors: (0..4).collect(),
        };
        let helper = Helper::new("/nonexistent".into());
        let both = (
            ports.clone() as Arc<dyn Storage>,
            ports.clone() as Arc<dyn Network>,
        );
        let (instances, events) = Instances::with_driver(driver.clone(), helper, hooks, machine, both);
        let mut instance = plain(folder.path(), "m");
        let nic = [
            ("type".to_owned(), "nic".to_owned()),
            ("nictype".to_owned(), "p2p".to_owned()),
        ];
        instance.devices.insert("eth0".into(), nic.into());
        Self {
            instances,
            events,
            driver,
            ports,
            instance,
            _folder: folder,
        }
    }

    fn key(&self) -> Key {
        self.instance.key.clone()
    }

    async fn start(&mut self) -> Result<crate::Started, Error> {
        let started = self.instances.start(self.instance.clone()).await;
        if started.is_ok() {
            assert_eq!(self.events.recv().await, Some(Event::Started(self.key())));
        }
        started
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.ports.log.lock())
    }
}

#[tokio::test]
async fn steps_in_order_and_what_they_change() {
    let mut world = World::new();
    let started = world.start().await.unwrap();
    assert_eq!(world.calls(), ["mount", "prepare", "started"]);
    let keys: Vec<&str> = started.volatile.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "volatile.x",
            "volatile.eth0.host_name",
            "volatile.eth0.hwaddr",
            "volatile.eth0.name"
        ]
    );
    assert_eq!(world.driver.take_log(), ["start default/m on /root"]);
    world.instances.stop(&world.key(), Stop::ask(None)).await.unwrap();
    assert_eq!(world.driver.take_log(), ["halt default/m", "clean default/m"]);
    assert_eq!(world.calls(), ["stopped", "unmount"]);
    assert_eq!(
        world.events.recv().await,
        Some(Event::Stopped(world.key(), Cause::Requested))
    );
}

#[tokio::test]
async fn what_ends_at_once_has_started_and_is_put_away_by_then() {
    for failing in ["", "started"] {
        let mut world = World::new();
        *world.ports.failing.lock() = failing;
        world.driver.behave(Behaviour {
            ends_at_once: true,
            ..Behaviour::default()
        });
        world.start().await.unwrap();
        assert_eq!(world.instances.phase(&world.key()), Phase::Stopped);
        world.instances.outlast(&world.key()).await;
        assert_eq!(
            world.events.recv().await,
            Some(Event::Stopped(world.key(), Cause::Inside))
        );
        assert_eq!(
            world.calls(),
            ["mount", "prepare", "started", "stopped", "unmount"]
        );
        world.start().await.unwrap();
    }
}

#[tokio::test]
async fn every_failing_step_of_a_start_is_undone() {
    for failing in ["mount", "prepare", "started", "driver"] {
        let mut world = World::new();
        *world.ports.failing.lock() = failing;
        world.driver.behave(Behaviour {
            fails_to_start: failing == "driver",
            ..Behaviour::default()
        });
        assert!(world.start().await.is_err(), "{failing}");
        let calls = world.calls();
        assert_eq!(calls[calls.len() - 2..], ["stopped", "unmount"], "{failing}");
        assert_eq!(
            world.driver.take_log().last().unwrap(),
            "clean default/m",
            "{failing}"
        );
        assert_eq!(world.instances.phase(&world.key()), Phase::Stopped);
        let put_away = std::mem::take(&mut *world.ports.put_away.lock());
        let is_known = put_away.iter().all(|name| name.starts_with("veth"));
        assert_eq!(
            is_known,
            matches!(failing, "started" | "driver"),
            "{failing}: what was made ready is known"
        );
        assert!(
            world.events.try_recv().is_err(),
            "nobody is told of a start that failed"
        );
        // And it can be started once the reason is gone.
        *world.ports.failing.lock() = "";
        world.driver.behave(Behaviour::default());
        world.start().await.unwrap();
    }
}

#[tokio::test]
async fn errors_of_putting_away_are_collected_and_told() {
    let mut world = World::new();
    world.start().await.unwrap();
    *world.ports.failing.lock() = "unmount";
    let error = world
        .instances
        .stop(&world.key(), Stop::kill())
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::TearDown(left) if left.0.len() == 1));
    assert!(
        error
            .to_string()
            .ends_with("instance \"default/m\": unmount was told to fail"),
        "{error}"
    );
    assert_eq!(world.instances.phase(&world.key()), Phase::Stopped);
    assert!(world.instances.clean_up(&world.instance).await.is_err());
    *world.ports.failing.lock() = "";
    world.instances.clean_up(&world.instance).await.unwrap();
}

#[tokio::test]
async fn its_own_end_and_its_own_reboot() {
    let mut world = World::new();
    for (target, cause) in [(Target::Stop, Cause::Inside), (Target::Reboot, Cause::Reboot)] {
        world.start().await.unwrap();
        world.driver.end(&world.key(), target);
        assert_eq!(
            world.events.recv().await,
            Some(Event::Stopped(world.key(), cause))
        );
        assert_eq!(world.instances.phase(&world.key()), Phase::Stopped);
    }
}

#[tokio::test]
async fn a_frozen_one_thaws_before_it_shuts_down() {
    let mut world = World::new();
    world.start().await.unwrap();
    world.instances.freeze(&world.key()).await.unwrap();
    assert!(
        world
            .instances
            .restart(world.instance.clone(), Stop::ask(None))
            .await
            .is_err()
    );
    world.driver.take_log();
    world.instances.stop(&world.key(), Stop::ask(None)).await.unwrap();
    assert_eq!(
        world.driver.take_log(),
        ["thaw default/m", "halt default/m", "clean default/m"]
    );
}

#[tokio::test]
async fn whoever_waits_too_long_is_told_and_it_goes_on() {
    let mut world = World::new();
    world.driver.behave(Behaviour {
        ignores_halt: true,
        ..Behaviour::default()
    });
    world.start().await.unwrap();
    let (patient, key) = (world.instances.clone(), world.key());
    let patient = tokio::spawn(async move { patient.stop(&key, Stop::ask(None)).await });
    tokio::task::yield_now().await;
    let short = Stop::ask(Some(Duration::from_millis(20)));
    let late = world.instances.stop(&world.key(), short).await;
    assert!(matches!(late, Err(Error::ShutdownTimeout { status: "Running" })));
    assert_eq!(
        world.instances.phase(&world.key()),
        Phase::Stopping,
        "somebody still waits"
    );
    world.driver.end(&world.key(), Target::Stop);
    patient.await.unwrap().unwrap();
    assert_eq!(
        world.events.recv().await,
        Some(Event::Stopped(world.key(), Cause::Requested))
    );

    world.start().await.unwrap();
    assert!(world.instances.stop(&world.key(), short).await.is_err());
    assert_eq!(world.instances.phase(&world.key()), Phase::Running);
    world.driver.end(&world.key(), Target::Stop);
    assert_eq!(
        world.events.recv().await,
        Some(Event::Stopped(world.key(), Cause::Inside))
    );
}

#[tokio::test]
async fn processors_are_spread_and_changed() {
    let mut world = World::new();
    world.instance.config.insert("limits.cpu".into(), "2".into());
    world.start().await.unwrap();
    let mut other = world.instance.clone();
    other.key.name = "n".into();
    world.instances.start(other.clone()).await.unwrap();
    world.driver.take_log();
    let ids = other.idmap.take();
    world.instances.update(other.clone()).await.unwrap();
    assert_eq!(world.driver.take_log(), ["update 2-3 default/n"]);
    let running = world.instances.instance_for_exec(&other.key).unwrap();
    assert_eq!(running.idmap, ids, "what runs keeps the ids that it started with");
    other.config.insert("limits.cpu".into(), "x".into());
    assert!(world.instances.update(other).await.is_err());
    assert_eq!(world.instances.running_keys().len(), 2);
}

#[tokio::test]
async fn many_at_once_start_one() {
    let world = World::new();
    let starts = (0..20).map(|_| world.instances.start(world.instance.clone()));
    let started = futures::future::join_all(starts).await;
    assert_eq!(started.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(world.driver.take_log(), ["start default/m on /root"]);
    assert!(
        world
            .instances
            .adopt(std::slice::from_ref(&world.instance))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_change_of_devices_that_fails_is_taken_back() {
    let mut world = World::new();
    world.driver.behave(Behaviour {
        fails_to_attach: Some("bad".len()),
        ..Behaviour::default()
    });
    world.start().await.unwrap();
    world.driver.take_log();
    let nic = world.instance.devices["eth0"].clone();
    let mut new = world.instance.clone();
    new.devices.remove("eth0");
    new.devices.insert("a".into(), nic.clone());
    new.devices.insert("bad".into(), nic);
    new.config.insert("limits.cpu".into(), "2".into());
    let refused = world.instances.update(new.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "Failed to start device \"bad\"");
    assert_eq!(
        world.driver.take_log(),
        [
            "update 0-1 default/m",
            "detach eth0 from default/m",
            "attach a to default/m",
            "attach bad to default/m",
            "detach a from default/m",
            "attach eth0 to default/m",
            "update all default/m",
        ]
    );
    new.devices.remove("bad");
    let volatile = world.instances.update(new).await.unwrap();
    assert!(
        volatile.iter().any(|(key, _)| key == "volatile.a.host_name"),
        "{volatile:?}"
    );
    world.instances.stop(&world.key(), Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn devices_that_stay_as_they_are_are_left_alone() {
    let mut world = World::new();
    world.start().await.unwrap();
    world.driver.take_log();
    let mut new = world.instance.clone();
    new.devices.insert("n".into(), new.devices["eth0"].clone());
    world.instances.update(new).await.unwrap();
    assert_eq!(
        world.driver.take_log(),
        ["update all default/m", "attach n to default/m"]
    );
}

#[tokio::test]
async fn what_is_saved_goes_on_or_is_put_away() {
    let mut world = World::new();
    world.start().await.unwrap();
    world.driver.take_log();
    let saving = |name: &str, stops| Saving {
        folder: world._folder.path().join(name),
        log: world._folder.path().join("log"),
        stops,
    };
    let (kept, ended) = (saving("kept", false), saving("ended", true));
    world.instances.dump(&world.key(), kept).await.unwrap();
    assert_eq!(world.instances.phase(&world.key()), Phase::Running);
    world.instances.dump(&world.key(), ended.clone()).await.unwrap();
    assert_eq!(world.instances.phase(&world.key()), Phase::Stopped);
    assert_eq!(
        world.driver.take_log(),
        ["dump default/m", "dump and end default/m", "clean default/m"]
    );
    assert_eq!(
        world.events.recv().await,
        Some(Event::Stopped(world.key(), Cause::Requested))
    );
    let saved = Saved {
        folder: ended.folder.clone(),
        log: ended.log.clone(),
    };
    let again = world.instances.restore(world.instance.clone(), saved).await;
    assert_eq!(again.unwrap().pid, 1);
    assert_eq!(world.driver.take_log(), ["restore default/m on /root"]);
}

#[tokio::test]
async fn what_can_not_be_saved_goes_on() {
    let mut world = World::new();
    world.driver.behave(Behaviour {
        fails_to_dump: true,
        ..Behaviour::default()
    });
    world.start().await.unwrap();
    let saving = Saving {
        folder: world._folder.path().join("state"),
        log: world._folder.path().join("log"),
        stops: true,
    };
    let refused = world.instances.dump(&world.key(), saving.clone()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "snapshot dump failed\ntold to fail"
    );
    assert_eq!(world.instances.phase(&world.key()), Phase::Running);
    world.instances.stop(&world.key(), Stop::kill()).await.unwrap();
    let refused = world.instances.dump(&world.key(), saving).await;
    assert_eq!(refused.unwrap_err().to_string(), "Instance is not running");
}
