//! The calls on a file system of the tests' own.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::*;
use crate::command::Command;
use crate::loops::Loop;
use crate::mount;

/// A small btrfs that goes with the test.
struct Area(tempfile::TempDir);

impl Area {
    async fn new() -> Self {
        let area = Self(tempfile::tempdir().unwrap());
        let file = area.0.path().join("image");
        fs::File::create(&file).unwrap().set_len(256 << 20).unwrap();
        Command::new("mkfs.btrfs")
            .arg("-q")
            .arg(&file)
            .output()
            .await
            .unwrap();
        let device = Loop::attach(&file).unwrap();
        fs::create_dir(area.at("")).unwrap();
        let options = mount::Options::parse("user_subvol_rm_allowed");
        mount::filesystem(device.path(), &area.at(""), "btrfs", &options).unwrap();
        area
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join("mounted").join(name)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        mount::detach(&self.at("")).unwrap();
    }
}

#[tokio::test]
async fn subvolumes_are_made_nested_copied_sealed_and_deleted() {
    let area = Area::new().await;
    assert!(is_btrfs(&area.at("")) && !is_btrfs(Path::new("/proc")) && is_in_kernel());
    create(&area.at("a")).unwrap();
    assert!(is_subvolume(&area.at("a")));
    assert!(create(&area.at("a")).is_err());
    fs::create_dir_all(area.at("a/d/e")).unwrap();
    assert!(!is_subvolume(&area.at("a/d")));
    for name in ["a/top", "a/d/e/deep", "a/top/inner"] {
        create(&area.at(name)).unwrap();
    }
    let expected = ["d/e/deep", "top", "top/inner"].map(PathBuf::from);
    assert_eq!(nested(&area.at("a")).unwrap(), expected);
    assert_eq!(nested(&area.at("a/d/e/deep")).unwrap(), [] as [PathBuf; 0]);

    fs::write(area.at("a/file"), "x").unwrap();
    snapshot(&area.at("a"), &area.at("s"), true).unwrap();
    assert!(is_read_only(&area.at("s")).unwrap() && !is_read_only(&area.at("a")).unwrap());
    assert!(info(&area.at("s")).unwrap().read_only && !info(&area.at("a")).unwrap().read_only);
    assert!(fs::write(area.at("s/file"), "y").is_err());
    set_read_only(&area.at("s"), false).unwrap();
    set_read_only(&area.at("s"), false).unwrap();
    fs::write(area.at("s/file"), "y").unwrap();
    assert_eq!(fs::read_to_string(area.at("a/file")).unwrap(), "x");
    assert!(delete(&area.at("a")).is_err(), "others lie in it");
    for name in ["a/top/inner", "a/top", "a/d/e/deep", "a", "s"] {
        delete(&area.at(name)).unwrap();
    }
    assert_eq!(fs::read_dir(area.at("")).unwrap().count(), 0);
    assert!(delete(&area.at("a")).is_err());
}

#[tokio::test]
async fn quota_groups_limit_and_count() {
    let area = Area::new().await;
    create(&area.at("v")).unwrap();
    assert_eq!(usage(&area.at("v")).unwrap(), None);
    assert!(
        limit(&area.at(""), &area.at("v"), Some(1 << 20)).is_err(),
        "quotas are off"
    );
    enable_quotas(&area.at("")).unwrap();
    enable_quotas(&area.at("")).unwrap();
    limit(&area.at(""), &area.at("v"), Some(4 << 20)).unwrap();
    assert_eq!(usage(&area.at("v")).unwrap().unwrap().limit, Some(4 << 20));
    let file = area.at("v/file");
    let written = fs::write(&file, vec![1; 8 << 20]).and_then(|()| fs::File::open(&file)?.sync_all());
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::QuotaExceeded);
    limit(&area.at(""), &area.at("v"), None).unwrap();
    assert_eq!(usage(&area.at("v")).unwrap().unwrap().limit, None);
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    sync(&area.at("")).unwrap();
    let counted = usage(&area.at("v")).unwrap().unwrap();
    assert!(
        counted.exclusive >= 8 << 20 && counted.referenced >= counted.exclusive,
        "{counted:?}"
    );
}

#[tokio::test]
async fn a_stream_makes_the_same_subvolume_again() {
    let area = Area::new().await;
    create(&area.at("v")).unwrap();
    fs::write(area.at("v/file"), "first").unwrap();
    snapshot(&area.at("v"), &area.at("s0"), true).unwrap();
    fs::write(area.at("v/more"), "second").unwrap();
    snapshot(&area.at("v"), &area.at("s1"), true).unwrap();
    fs::create_dir(area.at("in")).unwrap();
    let parent = area.at("s0");
    for (name, parent) in [("s0", None), ("s1", Some(parent.as_path()))] {
        let stream = fs::File::create(area.0.path().join("stream")).unwrap();
        send(&area.at(name), parent, stream.as_fd()).unwrap();
        let input = fs::read(area.0.path().join("stream")).unwrap();
        let receive = Command::new("btrfs")
            .arg("receive")
            .arg("-e")
            .arg(area.at("in"))
            .input(input);
        receive.output().await.unwrap();
    }
    assert_eq!(fs::read_to_string(area.at("in/s1/file")).unwrap(), "first");
    assert_eq!(fs::read_to_string(area.at("in/s1/more")).unwrap(), "second");
    let (sent, received) = (info(&area.at("s1")).unwrap(), info(&area.at("in/s1")).unwrap());
    assert_eq!(received.received_uuid, sent.uuid);
    snapshot(&area.at("in/s1"), &area.at("copy"), false).unwrap();
    assert_eq!(info(&area.at("copy")).unwrap().received_uuid, [0; 16]);
    let stream = fs::File::create(area.0.path().join("stream")).unwrap();
    assert!(
        send(&area.at("v"), None, stream.as_fd()).is_err(),
        "it can be written to"
    );
}

#[tokio::test]
async fn file_systems_grow_and_are_found() {
    let area = Area::new().await;
    let image = area.0.path().join("image");
    let block = superblock(&image).unwrap();
    assert_eq!(superblock(Path::new("/dev/null")), None);
    let device = find_by_uuid(&block.uuid).unwrap();
    assert_eq!(superblock(&device).unwrap(), block);
    let mounted = mount::mounts_beneath(&area.at("")).unwrap().remove(0);
    let total = || {
        let stat = rustix::fs::statvfs(area.at("")).unwrap();
        stat.f_blocks * stat.f_frsize
    };
    assert_eq!(total(), 256 << 20);
    fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(512 << 20)
        .unwrap();
    Loop::of_device(Path::new(&mounted.source))
        .unwrap()
        .grow()
        .unwrap();
    fill_device(&area.at("")).unwrap();
    assert_eq!(total(), 512 << 20);
}
