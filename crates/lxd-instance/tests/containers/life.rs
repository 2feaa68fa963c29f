//! Start, freeze, stop, reboot: unprivileged and privileged, and starts that fail.

use std::time::Duration;

use lxd_instance::lifecycle::Phase;
use lxd_instance::{Cause, Error, Event, Stop};

use crate::world::{World, exists, next, shell, soon};

#[tokio::test]
async fn an_unprivileged_life() {
    let world = World::new().await;
    let (instances, mut events) = world.daemon();
    let instance = world.instance_with_nic("a").await;
    let key = instance.key.clone();
    let started = instances.start(instance.clone()).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Started(key.clone()));
    assert_eq!(instances.phase(&key), Phase::Running);
    assert_eq!(instances.pid(&key), Some(started.pid));
    assert_eq!(world.calls(), ["mount", "prepare eth0", "started eth0 true"]);
    let volatile = |name: &str| {
        let found = started.volatile.iter().find(|(key, _)| key == name);
        found
            .unwrap_or_else(|| panic!("{name} in {:?}", started.volatile))
            .1
            .clone()
    };
    let host_name = volatile("volatile.eth0.host_name");
    assert_eq!(volatile("volatile.last_state.idmap"), "[]");
    assert!(matches!(
        instances.start(instance.clone()).await,
        Err(Error::Refused(_))
    ));

    let (code, out, _) = shell(
        &instances,
        &key,
        "cat /proc/self/uid_map; echo $container; touch /root/x; stat -c %u /root/x",
    )
    .await;
    assert_eq!(code, 0);
    assert_eq!(
        out.split_whitespace().collect::<Vec<_>>(),
        ["0", "1000000", "65536", "lxc", "0"]
    );
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(
            &world
                .root
                .join("containers")
                .join(&key.name)
                .join("rootfs/root/x")
                .metadata()
                .unwrap()
        ),
        0,
        "on disk"
    );

    let state = instances.state(&key).await.unwrap().unwrap();
    assert_eq!((state.pid, state.phase), (started.pid, Phase::Running));
    assert!(state.processes >= 1 && state.cpu_usage > 0);
    let card = &state.network["eth0"];
    assert_eq!(
        (card.mtu, card.state.as_str(), card.r#type.as_str()),
        (1400, "up", "broadcast")
    );
    assert_eq!(
        (&card.hwaddr, &card.host_name),
        (&volatile("volatile.eth0.hwaddr"), &host_name)
    );
    assert_eq!(state.network["lo"].addresses[0].scope, "local");

    instances.freeze(&key).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Frozen(key.clone()));
    assert_eq!(
        instances.freeze(&key).await.unwrap_err().to_string(),
        "The container is already frozen"
    );
    assert_eq!(instances.phase(&key), Phase::Frozen);
    instances.unfreeze(&key).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Thawed(key.clone()));
    instances.freeze(&key).await.unwrap();
    next(&mut events).await;

    instances.stop(&key, Stop::kill()).await.unwrap();
    assert_eq!(
        next(&mut events).await,
        Event::Stopped(key.clone(), Cause::Requested)
    );
    assert_eq!(instances.phase(&key), Phase::Stopped);
    assert_eq!(world.calls(), ["stopped eth0", "unmount"]);
    assert!(!std::path::Path::new(&format!("/proc/{}", started.pid)).exists());
    assert!(
        !instance.paths.seccomp.exists()
            && !instance.paths.devices.exists()
            && !instance.paths.shmounts.exists()
    );
    soon("the card vanishes with its namespace", || !exists(&host_name)).await;
    assert_eq!(
        instances.stop(&key, Stop::kill()).await.unwrap_err().to_string(),
        "The instance is already stopped"
    );
    let state = instances.state(&key).await.unwrap();
    assert!(state.is_none_or(|state| state.pid == 0));
}

#[tokio::test]
async fn a_privileged_life_with_a_restart() {
    let world = World::new().await;
    let (instances, mut events) = world.daemon();
    let mut instance = world.instance("p").await;
    instance.idmap = None;
    let key = instance.key.clone();
    let first = instances.start(instance.clone()).await.unwrap();
    let (_, out, _) = shell(
        &instances,
        &key,
        "cat /proc/self/uid_map; cat /proc/1/status | grep Seccomp:",
    )
    .await;
    assert_eq!(
        out.split_whitespace().collect::<Vec<_>>(),
        ["0", "0", "4294967295", "Seccomp:", "2"]
    );
    instance.config.insert("environment.AGAIN".into(), "yes".into());
    let second = instances.restart(instance, Stop::kill()).await.unwrap();
    assert_ne!(first.pid, second.pid);
    assert_eq!(shell(&instances, &key, "echo $AGAIN").await.1, "yes\n");
    next(&mut events).await;
    assert_eq!(
        next(&mut events).await,
        Event::Stopped(key.clone(), Cause::Restart)
    );
    assert_eq!(next(&mut events).await, Event::Started(key.clone()));
    instances.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn its_own_shutdown_and_reboot_are_told_apart() {
    let world = World::new().await;
    let (instances, mut events) = world.daemon();
    let mut instance = world.instance("r").await;
    // No range of /etc/subuid: liblxc must not ask newuidmap.
    instance.idmap = Some(lxd_sys::userns::IdMap::shifted(3_000_000_000, 65_536));
    let key = instance.key.clone();
    for (command, cause) in [
        ("reboot -f", Cause::Reboot),
        ("poweroff -f", Cause::Inside),
        ("reboot -f", Cause::Reboot),
    ] {
        instances.start(instance.clone()).await.unwrap();
        assert_eq!(next(&mut events).await, Event::Started(key.clone()));
        shell(&instances, &key, command).await;
        assert_eq!(
            next(&mut events).await,
            Event::Stopped(key.clone(), cause),
            "{command}"
        );
        assert_eq!(instances.phase(&key), Phase::Stopped);
    }
}

#[tokio::test]
async fn a_clean_stop_and_one_that_gives_up() {
    let world = World::new().await;
    let (instances, mut events) = world.daemon();
    let instance = world.instance("c").await;
    let key = instance.key.clone();
    let init = world
        .root
        .join("containers")
        .join(&key.name)
        .join("rootfs/sbin/init");
    std::fs::remove_file(&init).unwrap();
    let script =
        "#!/bin/sh\ntrap 'test -e /stay || exit 0' PWR\ntouch /run/ready\nwhile :; do sleep 0.01; done\n";
    std::fs::write(&init, script).unwrap();
    std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    instances.start(instance.clone()).await.unwrap();
    next(&mut events).await;
    shell(
        &instances,
        &key,
        "touch /stay; while ! test -e /run/ready; do :; done",
    )
    .await;
    let error = instances
        .stop(&key, Stop::ask(Some(Duration::from_millis(300))))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Failed shutting down instance, status is \"Running\": shutting down the container failed"
    );
    assert_eq!(instances.phase(&key), Phase::Running);
    shell(&instances, &key, "rm /stay").await;
    instances
        .stop(&key, Stop::ask(Some(Duration::from_secs(20))))
        .await
        .unwrap();
    assert_eq!(
        next(&mut events).await,
        Event::Stopped(key.clone(), Cause::Requested)
    );

    // A kill joins a clean stop that would take for ever.
    instances.start(instance.clone()).await.unwrap();
    next(&mut events).await;
    shell(
        &instances,
        &key,
        "touch /stay; while ! test -e /run/ready; do :; done",
    )
    .await;
    let (waiting, asked) = (instances.clone(), key.clone());
    let clean = tokio::spawn(async move { waiting.stop(&asked, Stop::ask(None)).await });
    soon("it is asked to stop", || instances.phase(&key) == Phase::Stopping).await;
    assert_eq!(
        instances.start(instance.clone()).await.unwrap_err().to_string(),
        "Instance is busy running a \"stop\" operation"
    );
    instances.stop(&key, Stop::kill()).await.unwrap();
    clean.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance_with_nic("f").await;
    let key = instance.key.clone();
    if let Some(nic) = instance.devices.get_mut("eth0") {
        nic.insert("parent".into(), "lxtnone".into());
    }
    let error = instances.start(instance.clone()).await.unwrap_err().to_string();
    assert!(error.contains("network card lxtnone does not exist"), "{error}");
    assert!(
        error.starts_with("Failed to run: ") && error.contains("exit status 1"),
        "{error}"
    );
    assert_eq!(instances.phase(&key), Phase::Stopped);
    assert_eq!(
        world.calls(),
        ["mount", "prepare eth0", "stopped eth0", "unmount"]
    );
    assert!(!instance.paths.seccomp.exists() && !instance.paths.devices.exists());

    instance
        .config
        .insert("raw.lxc".into(), "lxc.hook.pre-start = /bin/false".into());
    assert!(instances.start(instance.clone()).await.is_err());
    instance.config.insert("raw.lxc".into(), "lxc.foo = bar".into());
    let refused = instances.check(&instance).await.unwrap_err().to_string();
    assert!(
        refused.contains("loading config file for the container failed"),
        "{refused}"
    );
    instance.config.insert("raw.lxc".into(), "foo".into());
    assert_eq!(
        instances.check(&instance).await.unwrap_err().to_string(),
        "Invalid raw.lxc line: foo"
    );
    instance
        .config
        .insert("raw.lxc".into(), "# nothing\nlxc.sched.core = 0".into());
    instances.check(&instance).await.unwrap();
}

#[tokio::test]
async fn a_container_dies_with_its_monitor() {
    let world = World::new().await;
    let (instances, mut events) = world.daemon();
    let instance = world.instance_with_nic("m").await;
    let key = instance.key.clone();
    let started = instances.start(instance.clone()).await.unwrap();
    next(&mut events).await;
    let monitor = lxd_sys::process::stat(started.pid).unwrap().parent;
    lxd_sys::process::Process::adopt(monitor).unwrap().kill().unwrap();
    assert_eq!(
        next(&mut events).await,
        Event::Stopped(key.clone(), Cause::Inside)
    );
    assert!(
        !lxd_sys::process::exists(started.pid) || lxd_sys::process::stat(started.pid).unwrap().state == 'Z'
    );
    // The next start finds no remains.
    instances.start(instance).await.unwrap();
    instances.stop(&key, Stop::kill()).await.unwrap();
}
