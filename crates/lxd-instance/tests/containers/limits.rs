//! Limits at the start and on a running container.

use lxd_instance::{Instances, Key, Stop};
use lxd_sys::cgroup::{Cgroups, Version};

use crate::world::{World, shell};

/// A file of the container's group, by the controller's version here.
fn read(machine: &Cgroups, key: &Key, controller: &'static str, v1: &str, v2: &str) -> String {
    let version = machine.version(controller).expect("the controller");
    let file = if version == Version::V1 { v1 } else { v2 };
    let name = format!("/lxc.payload.{}", key.prefixed());
    let group = machine.group(&name);
    group.read(controller, file).unwrap().trim().to_owned()
}

async fn set(instances: &Instances, instance: &mut lxd_instance::Instance, key: &str, value: &str) {
    instance.config.insert(key.into(), value.into());
    instances.update(instance.clone()).await.unwrap();
}

#[tokio::test]
async fn limits_hold_from_the_start_and_change_live() {
    let world = World::new().await;
    let machine = Cgroups::detect().unwrap();
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("l").await;
    for (key, value) in [
        ("limits.memory", "64MiB"),
        ("limits.processes", "50"),
        ("limits.cpu.allowance", "20ms/100ms"),
    ] {
        instance.config.insert(key.into(), value.into());
    }
    let key = instance.key.clone();
    instances.start(instance.clone()).await.unwrap();
    let memory = || read(&machine, &key, "memory", "memory.limit_in_bytes", "memory.max");
    let processes = || read(&machine, &key, "pids", "pids.max", "pids.max");
    let quota = || read(&machine, &key, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!((memory().as_str(), processes().as_str()), ("67108864", "50"));
    assert!(quota().starts_with("20000"), "{}", quota());
    let (code, ..) = shell(&instances, &key, "dd if=/dev/zero of=/dev/null bs=100M count=1").await;
    assert_eq!(code, 137, "killed for its memory");

    set(&instances, &mut instance, "limits.memory", "128MiB").await;
    set(&instances, &mut instance, "limits.processes", "").await;
    set(&instances, &mut instance, "limits.cpu.allowance", "").await;
    assert_eq!((memory().as_str(), processes().as_str()), ("134217728", "max"));
    assert!(
        quota().starts_with("-1") || quota().starts_with("max"),
        "{}",
        quota()
    );
    set(&instances, &mut instance, "limits.memory", "").await;
    assert_ne!(memory(), "134217728");

    let processors = || read(&machine, &key, "cpuset", "cpuset.cpus", "cpuset.cpus");
    let all = machine.processors().unwrap();
    if all.contains(['-', ',']) {
        set(&instances, &mut instance, "limits.cpu", "1").await;
        let one = processors();
        assert!(one.parse::<u32>().is_ok(), "{one}");
        set(&instances, &mut instance, "limits.cpu", "0").await;
        assert_eq!(processors(), all);
    }
    instance.config.insert("limits.memory".into(), "nonsense".into());
    assert!(instances.update(instance.clone()).await.is_err());
    instances.stop(&key, Stop::kill()).await.unwrap();
    instances.update(world.instance("never").await).await.unwrap();
}
