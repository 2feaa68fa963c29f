//! What every driver must do, run for all of them through [`Pool`].

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_model::config::Config;
use lxd_sys::mount;
use lxd_sys::userns::IdMap;
use tokio_util::sync::CancellationToken;

use super::{Driver, STAGING, VolumeSource};
use crate::images::{ImageFiles, fixtures};
use crate::pool::{Pool, Pools};
use crate::volume::Volume;
use crate::watch::Watch;

mod content;
mod custom;
mod full;
mod nested;

use content::{everything_stays_as_it_is, many_files_are_copied_and_removed};
use custom::{
    archives_and_transfers_hold_all_of_it, blocks_stay_as_they_are, volumes_of_users_stay_as_they_are,
};
use full::{sizes_are_limited_where_that_is_possible, without_room_nothing_is_half_done};

const IMAGE: &str = "0123456789abcdef";

/// A state directory that is unmounted and removed whatever happens.
struct World {
    dir: tempfile::TempDir,
    pools: Pools,
    image: ImageFiles,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = ImageFiles::Unified(fixtures::write(dir.path(), "image.tar", &fixtures::image(vec![])));
        let pools = Pools::new(dir.path().join("lxd"));
        fs::create_dir(dir.path().join("lxd")).unwrap();
        Self { dir, pools, image }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("lxd").join(path)
    }

    async fn pool(&self, driver: Arc<dyn Driver>) -> Pool {
        self.pools.create_with("p1", driver, Config::new()).await.unwrap()
    }

    /// A pool with the image and the container c1.
    async fn populated(&self, driver: Arc<dyn Driver>) -> Pool {
        let pool = self.pool(driver).await;
        assert_eq!(
            pool.ensure_image(IMAGE, self.image.clone(), Watch::none())
                .await
                .unwrap(),
            Some(vec![])
        );
        create(&pool, "c1").await;
        pool
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (_, failures) = mount::detach_beneath(self.dir.path());
        assert!(failures.is_empty(), "{failures:?}");
    }
}

async fn create(pool: &Pool, name: &str) -> Volume {
    let volume = Volume::container("default", name);
    let source = VolumeSource::Image {
        fingerprint: IMAGE.into(),
    };
    pool.create_volume(&volume, source, Watch::none()).await.unwrap();
    volume
}

async fn read(pool: &Pool, volume: &Volume, path: &str) -> Option<String> {
    let access = pool.access(volume).await.unwrap();
    fs::read_to_string(access.rootfs().join(path)).ok()
}

/// What is mounted beside the pool itself.
fn strays(world: &World) -> Vec<mount::Mount> {
    let mut found = mount::mounts_beneath(world.dir.path()).unwrap();
    found.retain(|mount| mount.target != world.at("storage-pools/p1"));
    found
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

async fn pools_are_made_and_removed(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.pool(driver).await;
    let root = world.at("storage-pools/p1");
    assert!(
        pool.config()["source"].starts_with(&world.at("").display().to_string()),
        "{:?}",
        pool.config()
    );
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(
        // The root of a file system of its own is as the file system's programs make it.
        (
            mode("") & !0o044,
            mode("containers"),
            mode("custom"),
            mode("images")
        ),
        (0o711, 0o711, 0o700, 0o700)
    );
    let resources = pool.resources().await.unwrap();
    assert!(
        resources.space_total > resources.space_used && resources.space_used > 0,
        "{resources:?}"
    );
    let changed = Config::from([("source".into(), "/elsewhere".into())]);
    assert!(
        pool.update(changed)
            .await
            .unwrap_err()
            .to_string()
            .contains("source cannot be changed")
    );
    assert!(world.pools.create("p1", "dir", Config::new()).await.is_err());
    world.pools.delete("p1").await.unwrap();
    world.pools.delete("p1").await.unwrap();
    assert_eq!(names(&world.at("storage-pools")), Vec::<String>::new());
    assert_eq!(strays(&world), []);
}

async fn images_are_unpacked_once(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let gone = ImageFiles::Unified("/nonexistent".into());
    assert_eq!(
        pool.ensure_image(IMAGE, gone.clone(), Watch::none())
            .await
            .unwrap(),
        None
    );
    create(&pool, "c2").await;
    assert!(pool.ensure_image("other", gone, Watch::none()).await.is_err());
    assert_eq!(names(&world.at("storage-pools/p1/images")), [IMAGE]);
    assert_eq!(
        names(&world.at("storage-pools/p1").join(STAGING)),
        Vec::<String>::new()
    );
}

async fn volumes_come_from_images(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = Volume::container("default", "c1");
    let directory = pool.volume_path(&c1);
    assert_eq!(directory, world.at("storage-pools/p1/containers/c1"));
    assert_eq!(
        (
            fs::metadata(&directory).unwrap().mode() & 0o7777,
            fs::metadata(&directory).unwrap().uid()
        ),
        (0o100, 0)
    );
    assert_eq!(fs::read_link(world.at("containers/c1")).unwrap(), directory);
    assert_eq!(
        fs::read(directory.join("metadata.yaml")).unwrap(),
        fixtures::METADATA
    );
    assert!(directory.join("templates/hostname.tpl").is_file());
    assert_eq!(read(&pool, &c1, "etc/hostname").await.as_deref(), Some("image\n"));
    let rootfs_mode = {
        let access = pool.access(&c1).await.unwrap();
        assert!(!access.is_running());
        fs::metadata(access.rootfs()).unwrap().mode() & 0o7777
    };
    assert_eq!(rootfs_mode, 0o755);
    pool.write_backup_file(&c1, b"a: b\n".to_vec()).await.unwrap();
    pool.write_backup_file(&c1, b"c: d\n".to_vec()).await.unwrap();
    let backup = fs::metadata(directory.join("backup.yaml")).unwrap();
    assert_eq!((backup.mode() & 0o7777, backup.len()), (0o400, 5));
    let again = pool
        .create_volume(&c1, VolumeSource::Empty, Watch::none())
        .await
        .unwrap_err();
    assert_eq!(again.kind(), lxd_model::ErrorKind::Conflict);
    let empty = Volume::container("p", "e1");
    pool.create_volume(&empty, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    assert!(fs::symlink_metadata(world.at("containers/p_e1")).is_ok());
    assert_eq!(read(&pool, &empty, "etc/hostname").await, None);
}

/// Ids of the inside land on disk whatever the map is; the next map sees the same files.
async fn ids_stay_unshifted_on_disk(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = Volume::container("default", "c1");
    let mut real = false;
    // The state directory can be passed through by everybody, as /var/lib/lxd.
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    for base in [1_000_000, 2_000_000] {
        let mounted = pool
            .mount_instance(&c1, Some(IdMap::shifted(base, 65536)))
            .await
            .unwrap();
        assert!(mounted.mapped);
        real = !strays(&world).is_empty();
        fs::write(mounted.rootfs.join("etc/hostname"), "written\n").unwrap();
        if real {
            let inside = lxd_sys::command::Command::new("setpriv")
                .args([
                    "--clear-groups",
                    &format!("--reuid={base}"),
                    &format!("--regid={base}"),
                    "touch",
                ])
                .arg(mounted.rootfs.join(format!("etc/by-{base}")));
            inside.output().await.unwrap();
            assert_eq!(fs::metadata(mounted.rootfs.join("etc")).unwrap().uid(), base);
            chown(
                mounted.rootfs.join("etc/hostname"),
                Some(base + 7),
                Some(base + 8),
            )
            .unwrap();
        }
        pool.unmount_instance(&c1).await.unwrap();
        pool.unmount_instance(&c1).await.unwrap();
        assert!(!pool.is_mounted(&c1).await.unwrap());
    }
    if real {
        let access = pool.access(&c1).await.unwrap();
        let file = fs::metadata(access.rootfs().join("etc/hostname")).unwrap();
        assert_eq!((file.uid(), file.gid()), (7, 8));
        for name in ["etc/by-1000000", "etc/by-2000000"] {
            assert_eq!(
                fs::metadata(access.rootfs().join(name)).unwrap().uid(),
                0,
                "{name}"
            );
        }
        assert_eq!(fs::metadata(access.rootfs().join("etc")).unwrap().uid(), 0);
    }
    assert_eq!(strays(&world), []);
}

async fn copies_are_independent(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let (c1, c2) = (
        Volume::container("default", "c1"),
        Volume::container("default", "c2"),
    );
    {
        let access = pool.access(&c1).await.unwrap();
        fs::write(access.rootfs().join("etc/own"), "one").unwrap();
        fs::remove_file(access.rootfs().join("etc/inittab")).unwrap();
        fs::rename(access.rootfs().join("etc"), access.rootfs().join("etc2")).unwrap();
    }
    pool.create_volume(&c2, VolumeSource::Volume(c1.clone()), Watch::none())
        .await
        .unwrap();
    assert_eq!(read(&pool, &c2, "etc2/own").await.as_deref(), Some("one"));
    assert_eq!(
        read(&pool, &c2, "etc2/hostname").await.as_deref(),
        Some("image\n")
    );
    assert_eq!(read(&pool, &c2, "etc2/inittab").await, None);
    fs::write(pool.access(&c2).await.unwrap().rootfs().join("etc2/own"), "two").unwrap();
    assert_eq!(read(&pool, &c1, "etc2/own").await.as_deref(), Some("one"));
    let mounted = pool
        .mount_instance(&c1, Some(IdMap::shifted(1_000_000, 65536)))
        .await
        .unwrap();
    assert!(mounted.rootfs.exists());
    let c3 = Volume::container("default", "c3");
    pool.create_volume(&c3, VolumeSource::Volume(c1.clone()), Watch::none())
        .await
        .unwrap();
    let access = pool.access(&c3).await.unwrap();
    assert_eq!(
        fs::metadata(access.rootfs().join("etc2/own")).unwrap().uid(),
        0,
        "a running source is copied as on disk"
    );
    drop(access);
    pool.unmount_instance(&c1).await.unwrap();
    let missing = VolumeSource::Volume(Volume::container("default", "none"));
    let error = pool
        .create_volume(&Volume::container("default", "c4"), missing, Watch::none())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), lxd_model::ErrorKind::NotFound);
}

async fn snapshots_stay_as_they_were(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = Volume::container("default", "c1");
    let write = async |text: &str| {
        fs::write(pool.access(&c1).await.unwrap().rootfs().join("etc/own"), text).unwrap();
    };
    write("one").await;
    let take = async |name: &str| {
        let snapshot = c1.with_snapshot(name);
        let source = VolumeSource::Volume(c1.clone());
        pool.create_volume(&snapshot, source, Watch::none())
            .await
            .unwrap();
        snapshot
    };
    // What runs looks as it does on disk, too.
    pool.mount_instance(&c1, Some(IdMap::shifted(1_000_000, 65536)))
        .await
        .unwrap();
    let s0 = take("s0").await;
    pool.unmount_instance(&c1).await.unwrap();
    write("two").await;
    let s1 = take("s1").await;
    let snapshots = world.at("storage-pools/p1/containers-snapshots/c1");
    assert_eq!(names(&snapshots), ["s0", "s1"]);
    assert_eq!(
        fs::metadata(world.at("snapshots/c1/s0")).unwrap().mode() & 0o7777,
        0o100
    );
    assert_eq!(read(&pool, &s0, "etc/own").await.as_deref(), Some("one"));
    assert_eq!(read(&pool, &s1, "etc/own").await.as_deref(), Some("two"));
    assert!(!pool.is_mounted(&s0).await.unwrap());

    pool.replace_volume(&c1, (&pool, &s0), "t", Watch::none())
        .await
        .unwrap();
    assert_eq!(read(&pool, &c1, "etc/own").await.as_deref(), Some("one"));
    pool.replace_volume(&c1, (&pool, &s0), "t", Watch::none())
        .await
        .unwrap();
    pool.put_back(&c1, "t").await.unwrap();
    pool.put_back(&c1, "t").await.unwrap();
    assert_eq!(read(&pool, &c1, "etc/own").await.as_deref(), Some("two"));
    pool.replace_volume(&c1, (&pool, &s0), "t", Watch::none())
        .await
        .unwrap();
    pool.forget_replaced("t").await.unwrap();
    pool.put_back(&c1, "t").await.unwrap();
    write("three").await;
    assert_eq!(read(&pool, &s0, "etc/own").await.as_deref(), Some("one"));
    assert_eq!(
        fs::metadata(world.at("containers/c1")).unwrap().mode() & 0o7777,
        0o100
    );
    pool.mount_instance(&c1, None).await.unwrap();
    let busy = pool.replace_volume(&c1, (&pool, &s0), "t", Watch::none()).await;
    if pool.is_mounted(&c1).await.unwrap() {
        assert_eq!(busy.unwrap_err().kind(), lxd_model::ErrorKind::Conflict);
    }
    pool.unmount_instance(&c1).await.unwrap();
    pool.forget_replaced("t").await.unwrap();

    pool.rename_volume(&s1, &c1.with_snapshot("s2")).await.unwrap();
    assert_eq!(names(&snapshots), ["s0", "s2"]);
    let c2 = Volume::container("default", "c2");
    pool.rename_volume(&c1, &c2).await.unwrap();
    assert_eq!(names(&world.at("snapshots")), ["c2"]);
    assert_eq!(names(&world.at("snapshots/c2")), ["s0", "s2"]);
    pool.delete_volume(&c2.with_snapshot("s0")).await.unwrap();
    assert_eq!(names(&world.at("snapshots/c2")), ["s2"]);
    pool.delete_volume(&c2).await.unwrap();
    pool.settle().await.unwrap();
    assert_eq!(names(&world.at("snapshots")), Vec::<String>::new());
    for folder in ["containers", "containers-snapshots", STAGING] {
        let left = names(&world.at("storage-pools/p1").join(folder));
        assert_eq!(left, Vec::<String>::new(), "{folder}");
    }
    assert_eq!(strays(&world), []);
}

async fn views_show_what_is_on_disk(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = Volume::container("default", "c1");
    fs::remove_file(pool.access(&c1).await.unwrap().rootfs().join("etc/inittab")).unwrap();
    for runs in [false, true] {
        if runs {
            pool.mount_instance(&c1, Some(IdMap::shifted(1_000_000, 65536)))
                .await
                .unwrap();
        }
        let view = pool.view(&c1).await.unwrap();
        let hostname = view.rootfs().join("etc/hostname");
        assert_eq!(fs::read_to_string(&hostname).unwrap(), "image\n");
        assert_eq!(fs::metadata(&hostname).unwrap().uid(), 0);
        assert!(!view.rootfs().join("etc/inittab").exists());
        assert!(view.directory().join("metadata.yaml").is_file());
        let c2 = Volume::container("default", if runs { "c3" } else { "c2" });
        let source = VolumeSource::Tree {
            view: Arc::new(view),
            base: Some(c1.clone()),
        };
        pool.create_volume(&c2, source, Watch::none()).await.unwrap();
        assert_eq!(read(&pool, &c2, "etc/hostname").await.as_deref(), Some("image\n"));
        assert_eq!(read(&pool, &c2, "etc/inittab").await, None);
    }
    pool.unmount_instance(&c1).await.unwrap();
    let missing = pool.view(&Volume::container("default", "none")).await;
    assert_eq!(
        missing.map(drop).unwrap_err().kind(),
        lxd_model::ErrorKind::NotFound
    );
}

async fn volumes_are_renamed_and_removed(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let (c1, c2) = (
        Volume::container("default", "c1"),
        Volume::container("default", "c2"),
    );
    pool.mount_instance(&c1, Some(IdMap::shifted(1_000_000, 65536)))
        .await
        .unwrap();
    assert_eq!(
        pool.rename_volume(&c1, &c2).await.unwrap_err().kind(),
        lxd_model::ErrorKind::Conflict
    );
    pool.unmount_instance(&c1).await.unwrap();
    pool.rename_volume(&c1, &c2).await.unwrap();
    assert_eq!(names(&world.at("containers")), ["c2"]);
    assert_eq!(read(&pool, &c2, "etc/hostname").await.as_deref(), Some("image\n"));
    create(&pool, "c1").await;
    assert_eq!(
        pool.rename_volume(&c1, &c2).await.unwrap_err().kind(),
        lxd_model::ErrorKind::Conflict
    );
    assert_eq!(names(&world.at("containers")), ["c1", "c2"]);
    pool.mount_instance(&c2, None).await.unwrap();
    for volume in [&c1, &c2, &c2] {
        pool.delete_volume(volume).await.unwrap();
    }
    assert_eq!(names(&world.at("containers")), Vec::<String>::new());
    assert_eq!(
        names(&world.at("storage-pools/p1/containers")),
        Vec::<String>::new()
    );
    pool.settle().await.unwrap();
    assert_eq!(
        names(&world.at("storage-pools/p1").join(STAGING)),
        Vec::<String>::new()
    );
    assert_eq!(names(&world.at("roots/p1")), Vec::<String>::new());
    assert_eq!(strays(&world), []);
}

async fn images_go_while_volumes_stay(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = Volume::container("default", "c1");
    pool.delete_image(IMAGE).await.unwrap();
    pool.delete_image(IMAGE).await.unwrap();
    assert!(!pool.has_image(IMAGE).await.unwrap());
    assert_eq!(read(&pool, &c1, "etc/hostname").await.as_deref(), Some("image\n"));
    // The copy needs the image too, and outlives the first.
    let c2 = Volume::container("default", "c2");
    pool.create_volume(&c2, VolumeSource::Volume(c1.clone()), Watch::none())
        .await
        .unwrap();
    pool.delete_volume(&c1).await.unwrap();
    pool.settle().await.unwrap();
    assert_eq!(read(&pool, &c2, "etc/hostname").await.as_deref(), Some("image\n"));
    // The image comes back, and goes again.
    pool.ensure_image(IMAGE, world.image.clone(), Watch::none())
        .await
        .unwrap();
    assert!(pool.has_image(IMAGE).await.unwrap());
    pool.delete_image(IMAGE).await.unwrap();
    pool.delete_volume(&c2).await.unwrap();
    pool.settle().await.unwrap();
    assert_eq!(names(&world.at("storage-pools/p1/images")), Vec::<String>::new());
}

async fn failures_and_crashes_leave_nothing(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let watch = Watch::new(cancelled, None);
    let c2 = Volume::container("default", "c2");
    let error = pool
        .ensure_image("feedbeef", world.image.clone(), watch.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), lxd_model::ErrorKind::Cancelled);
    let missing = VolumeSource::Image {
        fingerprint: "none".into(),
    };
    assert!(pool.create_volume(&c2, missing, Watch::none()).await.is_err());
    let staging = world.at("storage-pools/p1").join(STAGING);
    assert_eq!(names(&staging), Vec::<String>::new());
    assert_eq!(names(&world.at("containers")), ["c1"]);
    fs::create_dir_all(staging.join("new-crash/rootfs")).unwrap();
    fs::write(staging.join("new-crash/rootfs/f"), "x").unwrap();
    fs::set_permissions(staging.join("new-crash"), fs::Permissions::from_mode(0o100)).unwrap();
    mount::tmpfs(&staging.join("new-crash/rootfs"), &[]).unwrap();
    let (c1, c3) = (Volume::container("default", "c1"), create(&pool, "c3").await);
    for volume in [&c1, &c3] {
        pool.mount_instance(volume, Some(IdMap::shifted(1_000_000, 65536)))
            .await
            .unwrap();
    }
    let cleaned = pool.clean_leftovers(vec![c3.clone()]).await.unwrap();
    assert_eq!(cleaned.directories, 1);
    assert_eq!(names(&staging), Vec::<String>::new());
    let mounts = strays(&world);
    assert!(
        mounts.iter().all(|m| m.target.to_string_lossy().contains("/c3")),
        "{mounts:?}"
    );
    pool.unmount_instance(&c3).await.unwrap();
}

macro_rules! suite {
    ($module:ident, $driver:expr) => {
        mod $module {
            suite!(@ $driver => everything_stays_as_it_is, volumes_of_users_stay_as_they_are,
                archives_and_transfers_hold_all_of_it, blocks_stay_as_they_are, many_files_are_copied_and_removed,
                without_room_nothing_is_half_done, sizes_are_limited_where_that_is_possible,
                pools_are_made_and_removed, images_are_unpacked_once, volumes_come_from_images,
                ids_stay_unshifted_on_disk, copies_are_independent, snapshots_stay_as_they_were,
                views_show_what_is_on_disk, volumes_are_renamed_and_removed,
                images_go_while_volumes_stay, failures_and_crashes_leave_nothing);
        }
    };
    (@ $driver:expr => $($test:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            super::$test($driver).await;
        })+
    };
}

suite!(btrfs, crate::drivers::load("btrfs").unwrap());
suite!(dir, crate::drivers::load("dir").unwrap());
suite!(overlay, crate::drivers::load("overlay").unwrap());
suite!(mocked, std::sync::Arc::new(crate::drivers::mock::Mock::default()));
