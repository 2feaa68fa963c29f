//! Subvolumes that instances and users have made in theirs, over every operation of `btrfs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lxd_sys::btrfs;

use super::{World, create, names};
use crate::drivers::{STAGING, VolumeSource, load};
use crate::images::pack::Packer;
use crate::pool::{Pool, StreamNames};
use crate::volume::Volume;
use crate::watch::Watch;

const NAMES: StreamNames = StreamNames {
    volume: "backup/x",
    snapshots: "backup/x-snapshots",
};

/// Subvolumes in subvolumes, one beneath a directory, one that nobody can write into; a file in each.
fn make_nested(root: &Path, text: &str) {
    fs::create_dir(root.join("dir")).unwrap();
    for below in ["nest", "nest/inner", "dir/deep", "sealed"] {
        btrfs::create(&root.join(below)).unwrap();
    }
    write(root, text);
    btrfs::set_read_only(&root.join("sealed"), true).unwrap();
}

fn write(root: &Path, text: &str) {
    for below in ["nest", "nest/inner", "dir/deep", "sealed"] {
        let path = root.join(below);
        let was_sealed = btrfs::is_read_only(&path).unwrap();
        btrfs::set_read_only(&path, false).unwrap();
        fs::write(path.join("file"), text).unwrap();
        btrfs::set_read_only(&path, was_sealed).unwrap();
    }
}

/// Each subvolume, whether it is sealed, and what its file says.
fn found(root: &Path) -> BTreeMap<String, (bool, String)> {
    let all = btrfs::nested(root).unwrap();
    all.into_iter()
        .map(|below| {
            let path = root.join(&below);
            let text = fs::read_to_string(path.join("file")).unwrap();
            let is_sealed = btrfs::is_read_only(&path).unwrap();
            (below.display().to_string(), (is_sealed, text))
        })
        .collect()
}

fn all_say(text: &str) -> BTreeMap<String, (bool, String)> {
    ["dir/deep", "nest", "nest/inner", "sealed"]
        .map(|below| (below.to_owned(), (below == "sealed", text.to_owned())))
        .into()
}

/// In snapshots everything is read-only.
fn texts(root: &Path) -> BTreeMap<String, String> {
    let all = found(root).into_iter();
    all.map(|(below, (_, text))| (below, text)).collect()
}

async fn goes_everywhere(world: &World, pool: &Pool, (v1, v2, v3): (Volume, Volume, Volume)) {
    let at = |volume: &Volume| pool.volume_path(volume);
    let copy = async |from: &Volume, to: &Volume| {
        let source = VolumeSource::Volume(from.clone());
        pool.create_volume(to, source, Watch::none()).await.unwrap();
    };
    let replace = async |volume: &Volume, from: &Volume| {
        pool.replace_volume(volume, (pool, from), "t", Watch::none())
            .await
            .unwrap();
        pool.forget_replaced("t").await.unwrap();
    };
    make_nested(&at(&v1), "one");
    let snapshot = v1.with_snapshot("s0");
    copy(&v1, &snapshot).await;
    write(&at(&v1), "two");
    assert_eq!(found(&at(&v1)), all_say("two"));
    assert!(texts(&at(&snapshot)).values().all(|text| text == "one"));
    copy(&v1, &v2).await;
    assert_eq!(found(&at(&v2)), all_say("two"), "copy");
    replace(&v1, &snapshot).await;
    assert_eq!(texts(&at(&v1)).len(), 4, "restore");
    assert!(texts(&at(&v1)).values().all(|text| text == "one"), "restore");
    write(&at(&v2), "three");
    replace(&v1, &v2).await;
    assert_eq!(found(&at(&v1)), all_say("three"), "refresh");
    pool.rename_volume(&v1, &v3).await.unwrap();
    assert_eq!(found(&at(&v3)), all_say("three"), "rename");
    assert_eq!(texts(&at(&v3.with_snapshot("s0"))).len(), 4);

    let both = |volume: &Volume| {
        vec![
            ("s0".to_owned(), volume.with_snapshot("s0")),
            (String::new(), volume.clone()),
        ]
    };
    let file = world.dir.path().join("streams.tar");
    let held = pool.hold(both(&v3)).await.unwrap();
    let mut packer = Packer::new(fs::File::create(&file).unwrap(), Watch::none());
    held.pack(&mut packer, NAMES, world.dir.path()).unwrap();
    packer.finish().unwrap();
    let headers = held.headers();
    drop(held);
    let received = pool.receive(file, NAMES, headers, both(&v1), Watch::none());
    received.await.unwrap();
    assert_eq!(found(&at(&v1)), all_say("three"), "streams");
    assert!(
        texts(&at(&v1.with_snapshot("s0")))
            .values()
            .all(|text| text == "one")
    );
    for volume in [&v1, &v2, &v3] {
        pool.delete_volume(volume).await.unwrap();
    }
    pool.settle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_subvolumes_go_everywhere() {
    let world = World::new();
    let pool = world.populated(load("btrfs").unwrap()).await;
    let custom = |name: &str| Volume::custom("default", name);
    let v1 = custom("v1");
    pool.create_volume(&v1, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    goes_everywhere(&world, &pool, (v1, custom("v2"), custom("v3"))).await;
    let container = |name: &str| Volume::container("default", name);
    let c2 = create(&pool, "c2").await;
    goes_everywhere(&world, &pool, (c2, container("c3"), container("c4"))).await;
    for folder in ["custom", "custom-snapshots", "containers-snapshots", STAGING] {
        assert_eq!(names(&pool.root().join(folder)), Vec::<String>::new(), "{folder}");
    }
    // The image and the container of the pool are all that is left.
    assert_eq!(btrfs::nested(&pool.root()).unwrap().len(), 2);
}
