//! Volumes that users made: whatever they hold goes through every operation, archive and transfer as it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::{assert_same, damage, describe, populate};
use super::{STAGING, World, names};
use crate::drivers::{Driver, View, VolumeSource};
use crate::images::pack::Packer;
use crate::pool::{BLOCK_FILE, CustomPart, Pool, StreamNames};
use crate::rsync::{Rsync, RsyncFeatures, tests::pump};
use crate::volume::Volume;
use crate::watch::Watch;

/// What archives call them.
const NAMES: StreamNames = StreamNames {
    volume: "backup/volume",
    snapshots: "backup/volume-snapshots",
};

fn v(name: &str) -> Volume {
    Volume::custom("default", name)
}

async fn described(pool: &Pool, volume: &Volume) -> BTreeMap<Vec<u8>, String> {
    describe(pool.view(volume).await.unwrap().rootfs())
}

/// A volume with one of everything, whose own directory is somebody's.
async fn filled(pool: &Pool) -> Volume {
    let volume = v("v1");
    pool.create_volume(&volume, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    let directory = pool.volume_path(&volume);
    populate(&directory);
    chown(&directory, Some(1000), Some(2000)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
    volume
}

async fn copy(pool: &Pool, from: &Volume, to: &Volume) {
    let source = VolumeSource::Volume(from.clone());
    pool.create_volume(to, source, Watch::none()).await.unwrap();
}

async fn replace(pool: &Pool, volume: &Volume, source: (&Pool, &Volume)) {
    pool.replace_volume(volume, source, "t", Watch::none())
        .await
        .unwrap();
    pool.forget_replaced("t").await.unwrap();
    // What was replaced shares files with it until it is gone.
    pool.settle().await.unwrap();
}

pub(super) async fn volumes_of_users_stay_as_they_are(driver: Arc<dyn Driver>) {
    if driver.info().name == "mock" {
        return;
    }
    let world = World::new();
    let other: Arc<dyn Driver> = super::super::load(driver.info().name).unwrap();
    let pool = world.pool(driver).await;
    let (v1, v2, v3) = (filled(&pool).await, v("v2"), v("v3"));
    let before = described(&pool, &v1).await;
    let (snapshot, moved) = (v1.with_snapshot("s0"), v3.with_snapshot("s0"));
    copy(&pool, &v1, &v2).await;
    assert_same(&before, &described(&pool, &v2).await, "copy");
    copy(&pool, &v1, &snapshot).await;
    assert_same(&before, &described(&pool, &snapshot).await, "snapshot");
    damage(&pool.volume_path(&v1));
    replace(&pool, &v1, (&pool, &snapshot)).await;
    assert_same(&before, &described(&pool, &v1).await, "restore");
    damage(&pool.volume_path(&v2));
    replace(&pool, &v2, (&pool, &v1)).await;
    assert_same(&before, &described(&pool, &v2).await, "refresh");
    pool.rename_volume(&v1, &v3).await.unwrap();
    assert_same(&before, &described(&pool, &v3).await, "rename");
    assert_same(&before, &described(&pool, &moved).await, "renamed snapshot");

    let second = world.pools.create_with("p2", other, Default::default());
    let second = second.await.unwrap();
    let copied = second.copy_volume_from(&pool, &v3, &v1, Watch::none());
    copied.await.unwrap();
    assert_same(&before, &described(&second, &v1).await, "other pool");
    damage(&second.volume_path(&v1));
    replace(&second, &v1, (&pool, &v3)).await;
    assert_same(
        &before,
        &described(&second, &v1).await,
        "refresh from another pool",
    );
    for volume in [&v2, &v3] {
        pool.delete_volume(volume).await.unwrap();
    }
    pool.settle().await.unwrap();
    for folder in ["custom", "custom-snapshots", STAGING] {
        assert_eq!(names(&pool.root().join(folder)), Vec::<String>::new(), "{folder}");
    }
}

/// Puts a volume and a snapshot into a new archive, as files.
async fn packed(world: &World, pool: &Pool, (volume, snapshot): (&Volume, &Volume)) -> PathBuf {
    let file = world.dir.path().join("archive.tar");
    let mut packer = Packer::new(fs::File::create(&file).unwrap(), Watch::none());
    for (name, volume) in [
        (NAMES.snapshots.to_owned() + "/s0", snapshot),
        (NAMES.volume.to_owned(), volume),
    ] {
        let view = pool.view(volume).await.unwrap();
        packer.tree(view.rootfs(), &name, None).unwrap();
    }
    packer.finish().unwrap();
    file
}

pub(super) async fn archives_and_transfers_hold_all_of_it(driver: Arc<dyn Driver>) {
    if driver.info().name == "mock" {
        return;
    }
    let world = World::new();
    let pool = world.pool(driver).await;
    let v1 = filled(&pool).await;
    let snapshot = v1.with_snapshot("s0");
    copy(&pool, &v1, &snapshot).await;
    fs::write(pool.volume_path(&v1).join("new"), "new").unwrap();
    let (now, then) = (described(&pool, &v1).await, described(&pool, &snapshot).await);

    let archive = packed(&world, &pool, (&v1, &snapshot)).await;
    let part = |name: String, volume: Volume| CustomPart { name, volume };
    let v2 = v("v2");
    let parts = vec![
        part(NAMES.volume.to_owned(), v2.clone()),
        part(NAMES.snapshots.to_owned() + "/s0", v2.with_snapshot("s0")),
    ];
    let left_out = pool.unpack_custom(archive, parts, false, Watch::none()).await;
    // No tar archive holds a socket; disks of the host, and what only its root can read, are not taken from one.
    assert_eq!(left_out.unwrap(), ["all/disk"; 2]);
    let archived = |mut tree: BTreeMap<Vec<u8>, String>| -> BTreeMap<Vec<u8>, String> {
        for path in [&b"all/socket"[..], b"all/disk"] {
            tree.remove(path).unwrap();
        }
        let plain = |text: String| text.replace("(\"trusted.secret\", [120]), ", "");
        tree.into_iter().map(|(path, text)| (path, plain(text))).collect()
    };
    assert_same(&archived(now.clone()), &described(&pool, &v2).await, "archive");
    let unpacked = described(&pool, &v2.with_snapshot("s0")).await;
    assert_same(&archived(then.clone()), &unpacked, "snapshot in an archive");

    if pool.has_streams() {
        let v3 = v("v3");
        streamed(&world, &pool, (&v1, &v3)).await;
        assert_same(&now, &described(&pool, &v3).await, "streams");
        let received = described(&pool, &v3.with_snapshot("s0")).await;
        assert_same(&then, &received, "snapshot in streams");
    }
    let v4 = v("v4");
    pool.create_volume(&v4, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    let view = pool.view(&v1).await.unwrap();
    transferred(view, &pool.volume_path(&v4)).await;
    // As the reference's servers send each other: links become files, and ACLs stay behind.
    let plain = |tree: BTreeMap<Vec<u8>, String>| -> BTreeMap<Vec<u8>, String> {
        let linked = [&b"all/plain"[..], b"all/second-name"];
        let of_links = |(path, text): (Vec<u8>, String)| match linked.contains(&path.as_slice()) {
            true => (path, text.split("links").next().unwrap_or_default().to_owned()),
            false => (path, without_acls(&text)),
        };
        tree.into_iter().map(of_links).collect()
    };
    assert_same(&plain(now), &plain(described(&pool, &v4).await), "rsync");
    for volume in [&v1, &v2, &v("v3"), &v4] {
        pool.delete_volume(volume).await.unwrap();
    }
    pool.settle().await.unwrap();
    for folder in ["custom", "custom-snapshots", STAGING] {
        assert_eq!(names(&pool.root().join(folder)), Vec::<String>::new(), "{folder}");
    }
}

/// A description up to its attributes, and with these where they are no ACLs. What an ACL says of the group is in the mode.
fn without_acls(text: &str) -> String {
    match text.contains("posix_acl") {
        false => text.to_owned(),
        true => text.split('[').next().unwrap_or_default().to_owned(),
    }
}

/// Sends a volume and its snapshot through an archive in the driver's own form.
async fn streamed(world: &World, pool: &Pool, (from, to): (&Volume, &Volume)) {
    let both = |volume: &Volume| {
        vec![
            ("s0".to_owned(), volume.with_snapshot("s0")),
            (String::new(), volume.clone()),
        ]
    };
    let file = world.dir.path().join("streams.tar");
    let held = pool.hold(both(from)).await.unwrap();
    let mut packer = Packer::new(fs::File::create(&file).unwrap(), Watch::none());
    held.pack(&mut packer, NAMES, world.dir.path()).unwrap();
    packer.finish().unwrap();
    let headers = held.headers();
    drop(held);
    let received = pool.receive(file, NAMES, headers, both(to), Watch::none());
    received.await.unwrap();
}

async fn transferred(view: View, to: &Path) {
    let features = RsyncFeatures {
        xattrs: true,
        delete: true,
        compress: true,
        exact: true,
    };
    let mut sender = Rsync::send(view, features, "").unwrap();
    let mut receiver = Rsync::receive(to, features).unwrap();
    let (sender_in, sender_out, _quiet) = sender.ends().unwrap();
    let (receiver_in, receiver_out, _silent) = receiver.ends().unwrap();
    let pumps = [pump(sender_out, receiver_in), pump(receiver_out, sender_in)];
    receiver.finish("").await.unwrap();
    sender.finish("").await.unwrap();
    pumps.into_iter().for_each(|pump| pump.join().unwrap());
}

pub(super) async fn blocks_stay_as_they_are(driver: Arc<dyn Driver>) {
    if driver.info().name == "mock" {
        return;
    }
    let world = World::new();
    let pool = world.pool(driver).await;
    let (b1, b2, b3) = (v("b1"), v("b2"), v("b3"));
    pool.create_volume(&b1, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    pool.resize_block(&b1, 16 << 20).await.unwrap();
    let file = |volume: &Volume| pool.volume_path(volume).join(BLOCK_FILE);
    let write = |text: &[u8]| {
        let opened = fs::OpenOptions::new().write(true).open(file(&b1)).unwrap();
        opened.write_all_at(text, 9 << 20).unwrap();
    };
    write(b"one");
    let one = fs::read(file(&b1)).unwrap();
    let snapshot = b1.with_snapshot("s0");
    copy(&pool, &b1, &snapshot).await;
    write(b"two");
    copy(&pool, &b1, &b2).await;
    assert_eq!(fs::read(file(&b2)).unwrap(), fs::read(file(&b1)).unwrap());
    replace(&pool, &b1, (&pool, &snapshot)).await;
    assert_eq!(fs::read(file(&b1)).unwrap(), one);

    let archive = world.dir.path().join("blocks.tar");
    let mut packer = Packer::new(fs::File::create(&archive).unwrap(), Watch::none());
    packer.small_file(&file(&b1), "backup/volume.img").unwrap();
    packer.finish().unwrap();
    let part = CustomPart {
        name: "backup/volume.img".into(),
        volume: b3.clone(),
    };
    let unpacked = pool.unpack_custom(archive, vec![part], true, Watch::none());
    unpacked.await.unwrap();
    assert_eq!(fs::read(file(&b3)).unwrap(), one);
    pool.resize_block(&b3, 32 << 20).await.unwrap();
    assert_eq!(fs::metadata(file(&b3)).unwrap().len(), 32 << 20);
    assert!(pool.resize_block(&b3, 1 << 20).await.is_err());
    for volume in [&b1, &b2, &b3] {
        assert_eq!(
            fs::metadata(file(volume)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        pool.delete_volume(volume).await.unwrap();
    }
    pool.settle().await.unwrap();
    assert_eq!(names(&pool.root().join("custom")), Vec::<String>::new());
}
