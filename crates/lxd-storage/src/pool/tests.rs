//! Pools as users make them, and pools of different kinds side by side.
use std::fs;
use std::sync::Arc;

use lxd_model::ErrorKind;
use lxd_model::config::Config;
use lxd_sys::mount;

use crate::drivers::mock::Mock;
use crate::images::{ImageFiles, fixtures};
use crate::{Pools, Volume, VolumeSource, Watch};

/// What ext4 calls itself, statfs(2).
const EXT4: i64 = 0xEF53;

struct Area(tempfile::TempDir);

impl Area {
    fn new() -> Self {
        let area = Self(tempfile::tempdir().unwrap());
        for name in ["lxd", "lxd/images", "source"] {
            fs::create_dir(area.at(name)).unwrap();
        }
        area
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn source(&self, name: &str) -> Config {
        Config::from([("source".to_owned(), self.at(name).display().to_string())])
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let (_, failures) = mount::detach_beneath(self.0.path());
        assert!(failures.is_empty(), "{failures:?}");
    }
}

#[tokio::test]
async fn a_source_is_bound_kept_and_left_empty() {
    for driver in ["dir", "overlay"] {
        let area = Area::new();
        let pools = Pools::new(area.at("lxd"));
        let pool = pools.create("p", driver, area.source("source")).await.unwrap();
        assert_eq!(pool.config(), area.source("source"));
        assert!(area.at("source/containers").is_dir());
        let staging = fs::File::open(area.at("source/.lxd-staging")).unwrap();
        if rustix::fs::fstatfs(&staging).unwrap().f_type == EXT4 {
            let flags = rustix::fs::ioctl_getflags(&staging).unwrap();
            assert!(flags.contains(rustix::fs::IFlags::TOPDIR), "volumes are spread");
        }
        assert!(mount::is_mountpoint(&area.at("lxd/storage-pools/p")));
        let second = pools
            .create("q", driver, area.source("source"))
            .await
            .unwrap_err();
        assert_eq!(
            second.to_string(),
            format!("Source path '{}' isn't empty", area.at("source").display())
        );
        assert!(!area.at("lxd/storage-pools/q").exists());
        pools.close("p").await.unwrap();
        assert!(!mount::is_mountpoint(&area.at("lxd/storage-pools/p")));
        pools.open("p", driver, area.source("source")).await.unwrap();
        pools.open("p", driver, area.source("source")).await.unwrap();
        pools.delete("p").await.unwrap();
        assert_eq!(fs::read_dir(area.at("source")).unwrap().count(), 0);
        assert!(!area.at("lxd/storage-pools/p").exists());
        assert_eq!(mount::mounts_beneath(area.0.path()).unwrap(), []);
    }
}

#[tokio::test]
async fn refused_pools_leave_nothing_and_say_what_the_reference_says() {
    let area = Area::new();
    let pools = Pools::new(area.at("lxd"));
    let refused = async |driver: &str, config: Config| {
        let error = pools.create("p", driver, config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(!area.at("lxd/storage-pools/p").exists());
        error.to_string()
    };
    let at = |name: &str| area.at(name).display().to_string();
    assert_eq!(
        refused("dir", area.source("none")).await,
        format!("Source path '{}' doesn't exist", at("none"))
    );
    assert_eq!(
        refused("dir", area.source("lxd/images")).await,
        format!("Source path '{}' is within the LXD directory", at("lxd/images"))
    );
    assert_eq!(refused("nonsense", Config::new()).await, "Unknown driver");
    assert!(refused("zfs", Config::new()).await.contains("zfs"));
    assert_eq!(
        refused("dir", Config::from([("foo".into(), "b".into())])).await,
        "Invalid option \"foo\""
    );
    assert_eq!(pools.get("p").unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_move_between_kinds_of_pools() {
    let area = Area::new();
    let pools = Pools::new(area.at("lxd"));
    let overlay = pools.create("o", "overlay", Config::new()).await.unwrap();
    let dir = pools.create("d", "dir", Config::new()).await.unwrap();
    let image = ImageFiles::Unified(fixtures::write(area.0.path(), "i.tar", &fixtures::image(vec![])));
    overlay.ensure_image("abc", image, Watch::none()).await.unwrap();
    let (c1, c2) = (
        Volume::container("default", "c1"),
        Volume::container("default", "c2"),
    );
    let source = VolumeSource::Image {
        fingerprint: "abc".into(),
    };
    overlay.create_volume(&c1, source, Watch::none()).await.unwrap();
    dir.copy_volume_from(&overlay, &c1, &c2, Watch::none())
        .await
        .unwrap();
    let c3 = Volume::container("default", "c3");
    overlay
        .copy_volume_from(&dir, &c2, &c3, Watch::none())
        .await
        .unwrap();
    let access = overlay.access(&c3).await.unwrap();
    assert_eq!(
        fs::read(access.rootfs().join("etc/hostname")).unwrap(),
        b"image\n"
    );
    assert!(access.directory().join("templates/hostname.tpl").is_file());
    drop(access);
    assert!(overlay.usage(&c3).await.unwrap().unwrap() > 0);
    assert_eq!(dir.usage(&c2).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_reads_together_and_before_a_start() {
    let area = Area::new();
    let pools = Pools::new(area.at("lxd"));
    let pool = pools.create("o", "overlay", Config::new()).await.unwrap();
    let c1 = Volume::container("default", "c1");
    pool.create_volume(&c1, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    let (first, second) = (pool.access(&c1).await.unwrap(), pool.access(&c1).await.unwrap());
    drop(first);
    assert!(pool.is_mounted(&c1).await.unwrap());
    let starting = tokio::spawn({
        let (pool, c1) = (pool.clone(), c1.clone());
        async move { pool.mount_instance(&c1, None).await }
    });
    drop(second);
    starting.await.unwrap().unwrap();
    let during = pool.access(&c1).await.unwrap();
    assert!(during.is_running());
    drop(during);
    assert!(
        pool.is_mounted(&c1).await.unwrap(),
        "the running instance keeps its root"
    );
    pool.unmount_instance(&c1).await.unwrap();
}

#[tokio::test]
async fn a_failing_driver_leaves_no_volume_and_no_link() {
    let area = Area::new();
    let pools = Pools::new(area.at("lxd"));
    let mock = Arc::new(Mock::default());
    let pool = pools.create_with("m", mock.clone(), Config::new()).await.unwrap();
    mock.fail("fill_volume", true);
    let c1 = Volume::container("default", "c1");
    pool.create_volume(&c1, VolumeSource::Empty, Watch::none())
        .await
        .unwrap_err();
    assert!(!pool.volume_path(&c1).exists() && fs::symlink_metadata(area.at("lxd/containers/c1")).is_err());
    mock.fail("fill_volume", false);
    pool.create_volume(&c1, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    assert!(pool.volume_path(&c1).exists());
}
