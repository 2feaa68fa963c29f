//! Whatever a root file system can hold goes through every operation as it is.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::sync::Arc;

use lxd_sys::path::{Node, PathError, walk};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use sha2::{Digest, Sha256};

use super::{World, create};
use crate::drivers::{Driver, VolumeSource};
use crate::pool::Pool;
use crate::volume::Volume;
use crate::watch::Watch;

/// Files that a directory of many has.
const MANY: usize = 100_000;

/// An ACL of the kernel's form: version 2; user::rw-, user:7:r--, group::r--, mask::r--, other::---.
const ACL: [u8; 44] = {
    let entries: [(u16, u16, u32); 5] = [
        (1, 6, u32::MAX),
        (2, 4, 7),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let mut bytes = [0_u8; 44];
    bytes[0] = 2;
    let mut index = 0;
    while index < entries.len() {
        let (tag, permissions, id) = entries[index];
        let at = 4 + index * 8;
        let (tag, permissions, id) = (tag.to_le_bytes(), permissions.to_le_bytes(), id.to_le_bytes());
        bytes[at] = tag[0];
        bytes[at + 1] = tag[1];
        bytes[at + 2] = permissions[0];
        bytes[at + 3] = permissions[1];
        bytes[at + 4] = id[0];
        bytes[at + 5] = id[1];
        bytes[at + 6] = id[2];
        bytes[at + 7] = id[3];
        index += 1;
    }
    bytes
};

/// Makes one of everything.
pub(super) fn populate(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir(at("all")).unwrap();
    fs::write(at("all/plain"), "content").unwrap();
    chown(at("all/plain"), Some(1000), Some(60_000)).unwrap();
    fs::set_permissions(at("all/plain"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(at("all/plain"), at("all/second-name")).unwrap();
    symlink("/nowhere/at all", at("all/link")).unwrap();
    fs::create_dir(at("all/sticky")).unwrap();
    fs::set_permissions(at("all/sticky"), fs::Permissions::from_mode(0o3777)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"all/\xff\xfe not text \n")), "x").unwrap();
    let sparse = fs::File::create(at("all/sparse")).unwrap();
    sparse.write_all_at(b"end", 64 << 20).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    let node = |name: &str, kind: FileType, mode: u32, device: u64| {
        rustix::fs::mknodat(CWD, at(name), kind, Mode::from_raw_mode(mode), device).unwrap();
    };
    node(
        "all/null",
        FileType::CharacterDevice,
        0o666,
        rustix::fs::makedev(1, 3),
    );
    node(
        "all/disk",
        FileType::BlockDevice,
        0o660,
        rustix::fs::makedev(7, 200),
    );
    node("all/pipe", FileType::Fifo, 0o600, 0);
    node("all/socket", FileType::Socket, 0o755, 0);
    fs::write(at("all/attributes"), "x").unwrap();
    let set = |name: &str, key: &str, value: &[u8]| {
        rustix::fs::lsetxattr(at(name), key, value, XattrFlags::empty()).unwrap();
    };
    set("all/attributes", "user.color", b"blue\0green");
    set("all/attributes", "trusted.secret", b"x");
    set("all/attributes", "system.posix_acl_access", &ACL);
    set("all/sticky", "system.posix_acl_default", &ACL);
    fs::write(at("all/capable"), "x").unwrap();
    let mut capability = [0_u8; 20];
    capability[3] = 2;
    capability[4] = 1 << 5;
    set("all/capable", "security.capability", &capability);
    // What root makes in somebody's directory has that group at first.
    fs::create_dir(at("all/given")).unwrap();
    chown(at("all/given"), None, Some(50)).unwrap();
    fs::set_permissions(at("all/given"), fs::Permissions::from_mode(0o2775)).unwrap();
    for name in ["all/given/file", "all/given/link"] {
        let made = match name.ends_with("link") {
            true => symlink("file", at(name)),
            false => fs::write(at(name), "x"),
        };
        made.and_then(|()| lchown(at(name), Some(0), Some(0))).unwrap();
    }
    let deep = (0..60).fold(at("all"), |path, level| path.join(format!("level{level}")));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "deep").unwrap();
}

/// Everything about a tree that must stay, by path.
pub(super) fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut first_names: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    walk(root, &mut |node: &Node<'_>| {
        let (path, stat) = (node.path.as_os_str().as_bytes().to_vec(), node.stat);
        let mut text = format!(
            "{:o} {}:{} rdev {} ",
            stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev
        );
        match node.file_type() {
            FileType::RegularFile => {
                let content = fs::read(root.join(node.path)).unwrap();
                let is_sparse =
                    content.len() > 1 << 20 && (stat.st_blocks as usize) * 512 < content.len() / 2;
                let digest = Sha256::digest(&content);
                text += &format!("{digest:?} sparse {is_sparse} at {} ", stat.st_mtime);
                let first = first_names
                    .entry((stat.st_dev, stat.st_ino))
                    .or_insert(path.clone());
                text += &format!(
                    "links {} first {:?} ",
                    stat.st_nlink,
                    String::from_utf8_lossy(first)
                );
            }
            FileType::Symlink => text += &format!("-> {:?} ", node.read_link()?),
            _ => {}
        }
        // Overlays have attributes of their own.
        let mut xattrs = node.xattrs(|name| !name.starts_with(b"trusted.overlay."))?;
        xattrs.sort();
        text += &format!("{xattrs:?}");
        found.insert(path, text);
        Ok::<(), PathError>(())
    })
    .unwrap();
    found
}

/// Changes some of that, and takes some away.
pub(super) fn damage(root: &Path) {
    fs::remove_dir_all(root.join("all/sticky")).unwrap();
    fs::write(root.join("all/plain"), "other").unwrap();
    fs::remove_file(root.join("all/socket")).unwrap();
}

async fn described(pool: &Pool, volume: &Volume) -> BTreeMap<Vec<u8>, String> {
    describe(pool.access(volume).await.unwrap().rootfs())
}

pub(super) fn assert_same(left: &BTreeMap<Vec<u8>, String>, right: &BTreeMap<Vec<u8>, String>, what: &str) {
    for (path, text) in left {
        let other = right.get(path);
        assert_eq!(Some(text), other, "{what}: {}", String::from_utf8_lossy(path));
    }
    assert_eq!(left.len(), right.len(), "{what}");
}

pub(super) async fn everything_stays_as_it_is(driver: Arc<dyn Driver>) {
    if driver.info().name == "mock" {
        return;
    }
    let world = World::new();
    let other: Arc<dyn Driver> = super::super::load(driver.info().name).unwrap();
    let pool = world.populated(driver).await;
    let (c1, c2) = (
        Volume::container("default", "c1"),
        Volume::container("default", "c2"),
    );
    populate(pool.access(&c1).await.unwrap().rootfs());
    let before = described(&pool, &c1).await;
    assert!(before.len() >= 80, "{}", before.len());

    let copy = VolumeSource::Volume(c1.clone());
    pool.create_volume(&c2, copy.clone(), Watch::none())
        .await
        .unwrap();
    assert_same(&before, &described(&pool, &c2).await, "copy");
    let snapshot = c1.with_snapshot("s0");
    pool.create_volume(&snapshot, copy, Watch::none()).await.unwrap();
    assert_same(&before, &described(&pool, &snapshot).await, "snapshot");

    damage(pool.access(&c1).await.unwrap().rootfs());
    pool.replace_volume(&c1, (&pool, &snapshot), "t", Watch::none())
        .await
        .unwrap();
    pool.forget_replaced("t").await.unwrap();
    // What was replaced shares files with it until it is gone.
    pool.settle().await.unwrap();
    assert_same(&before, &described(&pool, &c1).await, "restore");
    damage(pool.access(&c2).await.unwrap().rootfs());
    pool.replace_volume(&c2, (&pool, &c1), "u", Watch::none())
        .await
        .unwrap();
    pool.forget_replaced("u").await.unwrap();
    // What was replaced shares files with it until it is gone.
    pool.settle().await.unwrap();
    assert_same(&before, &described(&pool, &c2).await, "refresh");

    let c3 = Volume::container("default", "c3");
    pool.rename_volume(&c1, &c3).await.unwrap();
    assert_same(&before, &described(&pool, &c3).await, "rename");
    assert_same(
        &before,
        &described(&pool, &c3.with_snapshot("s0")).await,
        "renamed snapshot",
    );

    let second = world
        .pools
        .create_with("p2", other, Default::default())
        .await
        .unwrap();
    second
        .copy_volume_from(&pool, &c3, &c1, Watch::none())
        .await
        .unwrap();
    assert_same(&before, &described(&second, &c1).await, "other pool");
    damage(second.access(&c1).await.unwrap().rootfs());
    second
        .replace_volume(&c1, (&pool, &c3), "v", Watch::none())
        .await
        .unwrap();
    second.forget_replaced("v").await.unwrap();
    // What was replaced shares files with it until it is gone.
    second.settle().await.unwrap();
    assert_same(
        &before,
        &described(&second, &c1).await,
        "refresh from another pool",
    );
    second.settle().await.unwrap();
    pool.settle().await.unwrap();
}

pub(super) async fn many_files_are_copied_and_removed(driver: Arc<dyn Driver>) {
    if driver.info().name == "mock" {
        return;
    }
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = create(&pool, "many").await;
    {
        let access = pool.access(&c1).await.unwrap();
        let folder = access.rootfs().join("many");
        fs::create_dir(&folder).unwrap();
        for number in 0..MANY {
            fs::write(folder.join(format!("{number:06}")), number.to_string()).unwrap();
        }
    }
    let c2 = Volume::container("default", "c2");
    pool.create_volume(&c2, VolumeSource::Volume(c1.clone()), Watch::none())
        .await
        .unwrap();
    {
        let access = pool.access(&c2).await.unwrap();
        let folder = access.rootfs().join("many");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), MANY);
        assert_eq!(fs::read_to_string(folder.join("099999")).unwrap(), "99999");
        assert_eq!(fs::metadata(folder.join("000000")).unwrap().nlink(), 1);
    }
    for volume in [&c1, &c2] {
        pool.delete_volume(volume).await.unwrap();
    }
    pool.settle().await.unwrap();
    assert!(!pool.volume_path(&c1).exists() && !pool.volume_path(&c2).exists());
}
