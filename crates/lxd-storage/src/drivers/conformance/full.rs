//! A pool without room: what fails leaves nothing, and what is there stays right.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use lxd_model::config::Config;
use lxd_sys::loops::Loop;
use lxd_sys::mount;

use super::{World, create, names};
use crate::drivers::{Driver, STAGING, VolumeSource};
use crate::pool::Pool;
use crate::tools;
use crate::volume::Volume;
use crate::watch::Watch;

/// Bytes of content of the volume that is worked with.
const CONTENT: usize = 24 << 20;

/// A pool that has 128 MiB: a file system of its own, or one that the test makes for it.
async fn small_pool(world: &World, driver: Arc<dyn Driver>) -> Pool {
    let mut config = Config::new();
    if driver.info().pool_keys.find("size").is_some() {
        config.insert("size".into(), "128MiB".into());
    } else {
        let (file, source) = (world.dir.path().join("small.img"), world.dir.path().join("small"));
        fs::File::create(&file).unwrap().set_len(128 << 20).unwrap();
        let mkfs = lxd_sys::command::Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&file);
        tokio::task::spawn_blocking(move || tools::run(mkfs, &Watch::none()).unwrap())
            .await
            .unwrap();
        fs::create_dir(&source).unwrap();
        let device = Loop::attach(&file).unwrap();
        mount::filesystem(device.path(), &source, "ext4", &mount::Options::parse("")).unwrap();
        let _ = fs::remove_dir(source.join("lost+found"));
        config.insert("source".into(), source.display().to_string());
    }
    world.pools.create_with("p1", driver, config).await.unwrap()
}

/// Writes until nothing goes any more.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    for size in [1 << 20, 64 << 10, 4096, 1] {
        let chunk = vec![7_u8; size];
        while file.write_all(&chunk).and_then(|()| file.sync_data()).is_ok() {}
    }
}

/// What is in the pool, but for the filling.
fn contents(pool: &Pool) -> Vec<String> {
    let root = pool.root();
    ["containers", "containers-snapshots", "images", STAGING]
        .iter()
        .flat_map(|folder| {
            names(&root.join(folder))
                .into_iter()
                .map(move |name| format!("{folder}/{name}"))
        })
        .collect()
}

pub(super) async fn without_room_nothing_is_half_done(driver: Arc<dyn Driver>) {
    if driver.info().name == "mock" {
        return;
    }
    let world = World::new();
    let pool = small_pool(&world, driver).await;
    pool.ensure_image(super::IMAGE, world.image.clone(), Watch::none())
        .await
        .unwrap();
    let c1 = create(&pool, "c1").await;
    let data = vec![3_u8; CONTENT];
    fs::write(pool.access(&c1).await.unwrap().rootfs().join("data"), &data).unwrap();
    let snapshot = c1.with_snapshot("s0");
    pool.create_volume(&snapshot, VolumeSource::Empty, Watch::none())
        .await
        .unwrap();
    let before = contents(&pool);
    let filling = pool.root().join("filling");
    fill(&filling);

    let c2 = Volume::container("default", "c2");
    let image = VolumeSource::Image {
        fingerprint: super::IMAGE.into(),
    };
    for (what, source) in [
        ("copy", VolumeSource::Volume(c1.clone())),
        ("launch", image),
        (
            "tree",
            VolumeSource::Tree {
                view: Arc::new(pool.view(&c1).await.unwrap()),
                base: None,
            },
        ),
    ] {
        let made = pool.create_volume(&c2, source, Watch::none()).await;
        if made.is_ok() {
            // A driver that needs no room for it.
            pool.delete_volume(&c2).await.unwrap();
            pool.settle().await.unwrap();
        }
        assert_eq!(contents(&pool), before, "{what}: {made:?}");
    }
    let unpacked = pool
        .ensure_image("feedbeef", world.image.clone(), Watch::none())
        .await;
    if unpacked.is_ok() {
        pool.delete_image("feedbeef").await.unwrap();
        pool.settle().await.unwrap();
    }
    assert_eq!(contents(&pool), before, "image: {unpacked:?}");
    let replaced = pool
        .replace_volume(&c1, (&pool, &snapshot), "t", Watch::none())
        .await;
    if replaced.is_ok() {
        pool.put_back(&c1, "t").await.unwrap();
        pool.settle().await.unwrap();
    }
    assert_eq!(contents(&pool), before, "restore: {replaced:?}");
    assert_eq!(
        fs::read(pool.access(&c1).await.unwrap().rootfs().join("data"))
            .unwrap()
            .len(),
        CONTENT
    );
    let c3 = Volume::container("default", "c3");
    if pool.rename_volume(&c1, &c3).await.is_ok() {
        pool.rename_volume(&c3, &c1).await.unwrap();
    }
    assert_eq!(contents(&pool), before, "rename");

    fs::remove_file(&filling).unwrap();
    pool.create_volume(&c2, VolumeSource::Volume(c1.clone()), Watch::none())
        .await
        .unwrap();
    assert_eq!(
        fs::read(pool.access(&c2).await.unwrap().rootfs().join("data")).unwrap(),
        data
    );
    for volume in [&c1, &c2] {
        pool.delete_volume(volume).await.unwrap();
    }
    pool.settle().await.unwrap();
    assert_eq!(names(&pool.root().join("containers")), Vec::<String>::new());
}

/// Where sizes can be limited they are, and nowhere else.
pub(super) async fn sizes_are_limited_where_that_is_possible(driver: Arc<dyn Driver>) {
    let world = World::new();
    let pool = world.populated(driver).await;
    let c1 = Volume::container("default", "c1");
    if !pool.limit(&c1, Some(8 << 20)).await.unwrap() {
        assert!(!pool.limit(&c1, None).await.unwrap());
        // Whoever asks for one is told so, or not, as the driver has it.
        let asked = pool.limit_as_asked(&c1, Some(8 << 20)).await;
        assert_eq!(asked.is_err(), pool.driver().refuses_sizes, "{asked:?}");
        assert!(!pool.limit_as_asked(&c1, None).await.unwrap());
        return;
    }
    let write = async |megabytes: usize| {
        let access = pool.access(&c1).await.unwrap();
        let path = access.rootfs().join("big");
        let written = fs::write(&path, vec![1_u8; megabytes << 20]);
        let synced = written.and_then(|()| fs::File::open(&path)?.sync_all());
        (synced, path)
    };
    let (result, path) = write(16).await;
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::QuotaExceeded);
    fs::remove_file(path).unwrap();
    pool.limit(&c1, Some(64 << 20)).await.unwrap();
    write(16).await.0.unwrap();
    // A copy has no limit until it gets its own.
    let c2 = Volume::container("default", "c2");
    pool.create_volume(&c2, VolumeSource::Volume(c1.clone()), Watch::none())
        .await
        .unwrap();
    fs::write(
        pool.access(&c2).await.unwrap().rootfs().join("more"),
        vec![2_u8; 80 << 20],
    )
    .unwrap();
    pool.limit(&c1, None).await.unwrap();
    write(80).await.0.unwrap();
    assert!(pool.usage(&c1).await.unwrap().is_some());
}
