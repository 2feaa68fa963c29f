//! Devices of containers: there from the start, plugged in, taken out, and following the host.

use std::collections::BTreeMap;
use std::path::Path;

use lxd_instance::{Instance, Instances, Key, Stop};
use lxd_sys::cgroup::Cgroups;
use lxd_sys::mount;

use crate::world::{World, shell, soon};

fn device(config: &[(&str, &str)]) -> BTreeMap<String, String> {
    config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn inside(instances: &Instances, key: &Key, script: &str) -> String {
    let (_, out, err) = shell(instances, key, script).await;
    format!("{out}{err}").trim().to_owned()
}

/// A folder with a file, readable by everybody.
fn source(world: &World, name: &str) -> String {
    let folder = world.root.join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("f"), name).unwrap();
    folder.display().to_string()
}

fn mounts_of(instance: &Instance) -> usize {
    [&instance.paths.devices, &instance.paths.shmounts]
        .iter()
        .map(|folder| mount::mounts_beneath(folder).unwrap().len())
        .sum()
}

#[tokio::test]
async fn disks_are_there_from_the_start_and_gone_after_it() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("d").await;
    let (plain, mapped) = (source(&world, "plain"), source(&world, "with space"));
    let file = format!("{plain}/f");
    std::fs::create_dir(world.root.join("pool")).unwrap();
    source(&world, "pool/volume");
    for (name, config) in [
        (
            "a",
            device(&[("source", &plain), ("path", "/mnt/a"), ("readonly", "true")]),
        ),
        (
            "b",
            device(&[("source", &mapped), ("path", "/mnt/b c"), ("shift", "true")]),
        ),
        ("c-c", device(&[("source", &file), ("path", "/mnt/file")])),
        (
            "d",
            device(&[
                ("source", "/nonexistent"),
                ("path", "/mnt/d"),
                ("required", "false"),
            ]),
        ),
        (
            "e",
            device(&[("pool", "pool"), ("source", "volume"), ("path", "/mnt/e")]),
        ),
    ] {
        let mut config = config;
        config.insert("type".into(), "disk".into());
        instance.devices.insert(name.into(), config);
    }
    instances.start(instance.clone()).await.unwrap();
    let key = instance.key.clone();
    let ask = async |script: &str| inside(&instances, &key, script).await;
    assert_eq!(
        ask("cat /mnt/a/f '/mnt/b c/f' /mnt/file /mnt/e/f").await,
        "plainwith spaceplainpool/volume"
    );
    assert!(ask("echo x > /mnt/a/f").await.contains("Read-only"));
    assert_ne!(
        ask("mount -o remount,rw,bind /mnt/a 2>&1").await,
        "",
        "its option is locked"
    );
    assert_eq!(
        ask("touch '/mnt/b c/new' /mnt/e/new; stat -c %u '/mnt/b c/new' /mnt/e/new").await,
        "0\n0"
    );
    let on_host = std::fs::metadata(Path::new(&mapped).join("new")).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&on_host),
        0,
        "ids are mapped by the mount"
    );
    assert_eq!(mounts_of(&instance), 0, "the host keeps no mount of a disk");
    instances.stop(&key, Stop::kill()).await.unwrap();
    assert!(!instance.paths.devices.exists() && !instance.paths.shmounts.exists());
    assert!(world.calls().contains(&"unmount pool/volume".to_owned()));
}

#[tokio::test]
async fn a_missing_source_keeps_it_from_starting_and_leaves_nothing() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("m").await;
    let there = source(&world, "there");
    let disk = |source: &str, path: &str| device(&[("type", "disk"), ("source", source), ("path", path)]);
    instance.devices.insert("a".into(), disk(&there, "/mnt/a"));
    instance
        .devices
        .insert("b".into(), disk("/nonexistent", "/mnt/b"));
    let refused = instances.start(instance.clone()).await.unwrap_err();
    let reason = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(reason, "Missing source path \"/nonexistent\" for disk \"b\"");
    assert_eq!(mounts_of(&instance), 0);
    assert!(!instance.paths.devices.exists());
}

#[tokio::test]
async fn devices_come_and_go_while_it_runs_all_or_none() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("h").await;
    instances.start(instance.clone()).await.unwrap();
    let key = instance.key.clone();
    let ask = async |script: &str| inside(&instances, &key, script).await;
    let folder = source(&world, "folder");
    let before = instance.clone();
    let disk = device(&[
        ("type", "disk"),
        ("source", &folder),
        ("path", "/mnt/deep/d"),
        ("readonly", "true"),
    ]);
    let node = device(&[
        ("type", "unix-char"),
        ("source", "/dev/zero"),
        ("path", "/dev/my-zero"),
        ("mode", "0604"),
        ("uid", "5"),
    ]);
    instance.devices.insert("disk".into(), disk);
    instance.devices.insert("node".into(), node);
    instances.update(instance.clone()).await.unwrap();
    assert_eq!(ask("cat /mnt/deep/d/f").await, "folder");
    assert_ne!(
        ask("mount -o remount,rw,bind /mnt/deep/d 2>&1").await,
        "",
        "its option is locked"
    );
    assert_eq!(
        ask("stat -c '%u %a' /dev/my-zero; head -c 3 /dev/my-zero | wc -c").await,
        "5 604\n3"
    );
    // One that fails takes the others of the same change back.
    let mut failing = instance.clone();
    failing.devices.remove("disk");
    failing.devices.insert(
        "zz".into(),
        device(&[("type", "unix-char"), ("path", "/dev/nonexistent")]),
    );
    let refused = instances.update(failing).await.unwrap_err();
    assert_eq!(refused.to_string(), "Failed to start device \"zz\"");
    assert_eq!(
        ask("cat /mnt/deep/d/f; head -c 3 /dev/my-zero | wc -c").await,
        "folder3"
    );
    instances.update(before).await.unwrap();
    assert_eq!(ask("ls -d /mnt/deep/d /dev/my-zero 2>/dev/null").await, "");
    assert_eq!(mounts_of(&instance), 0);
    assert_eq!(std::fs::read_dir(&instance.paths.devices).unwrap().count(), 0);
    instances.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn what_was_on_its_way_when_a_daemon_died_is_taken_back() {
    let world = World::new().await;
    let mut instance = world.instance("t").await;
    let folder = source(&world, "folder");
    let disk = device(&[("type", "disk"), ("source", &folder), ("path", "/mnt/d")]);
    instance.devices.insert("d".into(), disk);
    let (instances, _events) = world.daemon();
    instances.start(instance.clone()).await.unwrap();
    drop(instances);
    world.nobody_listens().await;
    let on_its_way = instance.paths.shmounts.join("lxdmount_1_1");
    std::fs::create_dir(&on_its_way).unwrap();
    for place in [on_its_way.clone(), instance.paths.devices.join("disk.d.mnt-d")] {
        mount::bind(Path::new(&folder), &place, mount::BindOptions::default()).unwrap();
    }
    assert_eq!(mounts_of(&instance), 2);
    let (instances, _events) = world.daemon();
    instances.adopt(std::slice::from_ref(&instance)).await.unwrap();
    assert_eq!(mounts_of(&instance), 0);
    assert!(!on_its_way.exists() && Path::new(&folder).join("f").exists());
    assert_eq!(inside(&instances, &instance.key, "cat /mnt/d/f").await, "folder");
    instances.stop(&instance.key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn a_privileged_one_may_use_what_it_is_given_and_no_more() {
    let world = World::new().await;
    let (instances, _events) = world.daemon();
    let mut instance = world.instance("p").await;
    instance.idmap = None;
    let plain = instance.clone();
    instances.start(instance.clone()).await.unwrap();
    let key = instance.key.clone();
    let machine = Cgroups::detect().unwrap();
    let list = || {
        let group = machine.group(&format!("/lxc.payload.{}", key.prefixed()));
        group.read("devices", "devices.list").unwrap_or_default()
    };
    let kmsg = device(&[("type", "unix-char"), ("path", "/dev/kmsg")]);
    instance.devices.insert("kmsg".into(), kmsg);
    instances.update(instance).await.unwrap();
    let read = "head -c 3 /dev/kmsg | wc -c";
    assert_eq!(inside(&instances, &key, read).await, "3");
    let has_list = !list().is_empty();
    assert!(!has_list || list().contains("c 1:11 rwm"), "{}", list());
    instances.update(plain).await.unwrap();
    assert!(!list().contains("c 1:11"), "{}", list());
    instances.stop(&key, Stop::kill()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_may_be_missing_follows_the_host() {
    let world = World::new().await;
    let mut instance = world.instance("w").await;
    let path = world.root.join("later/node");
    let node = device(&[
        ("type", "unix-char"),
        ("source", &path.display().to_string()),
        ("path", "/dev/later"),
        ("required", "false"),
    ]);
    instance.devices.insert("n".into(), node);
    let (instances, _events) = world.daemon();
    instances.start(instance.clone()).await.unwrap();
    let file = instance.paths.devices.join("unix.n.dev-later");
    assert!(!file.exists());
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let zero = rustix::fs::makedev(1, 5);
    let make = || {
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, zero).unwrap();
    };
    make();
    soon("the node comes", || file.exists()).await;
    let key = instance.key.clone();
    let ask = async |script: &str| inside(&instances, &key, script).await;
    let mut tries = 0;
    while ask("head -c 3 /dev/later 2>/dev/null | wc -c").await != "3" {
        tries += 1;
        assert!(tries < 100, "never seen inside");
    }
    std::fs::remove_file(&path).unwrap();
    soon("the node goes", || !file.exists()).await;
    assert_eq!(ask("ls /dev/later 2>/dev/null").await, "");
    // Another daemon takes it over, and looks at once.
    drop(instances);
    world.nobody_listens().await;
    make();
    let (instances, _events) = world.daemon();
    instances.adopt(std::slice::from_ref(&instance)).await.unwrap();
    soon("the next daemon sees it", || file.exists()).await;
    instances.stop(&key, Stop::kill()).await.unwrap();
    assert!(!instance.paths.devices.exists());
}
