//! Custom volumes on pools without room: what fails leaves everything as it was, and goes once there is room.

use std::path::PathBuf;

use lxd_api::storage_pools::StoragePoolsPost;
use lxd_api::storage_volumes::{
    StoragePoolVolumeBackupsPost, StorageVolumePost, StorageVolumePut, StorageVolumeSnapshotsPost,
    StorageVolumesPost,
};

use super::tests::{DRIVERS, post};
use super::*;
use crate::testing::disk::{Disk, assert_same, files, is_no_room, small_pool};
use crate::testing::{TestApp, root};

/// Bytes of the volume's file.
const CONTENT: usize = 3 << 20;

/// What is asked for.
const WISHES: [&str; 12] = [
    "create",
    "block",
    "copy",
    "copy block",
    "bring",
    "refresh",
    "snapshot",
    "restore",
    "move",
    "import",
    "rename",
    "delete",
];

/// Bytes of room that are left, from none to nearly enough.
const ROOM: [u64; 3] = [0, 64 << 10, 2 << 20];

/// The pool that is filled, and another.
async fn start(driver: &str) -> (TestApp, Vec<Disk>) {
    let app = TestApp::start().await;
    let disks = small_pool(&app, "p1", driver).await;
    let roomy = StoragePoolsPost {
        name: "p2".into(),
        driver: "dir".into(),
        ..StoragePoolsPost::default()
    };
    crate::storage_pools::create(&app, &root(), roomy).await.unwrap();
    for pool in ["p1", "p2"] {
        make(&app, pool, "v1", 1).await;
        take(&app, pool, "v1", "s0").await.unwrap();
        write(&app, pool, "v1", 2);
    }
    make(&app, "p1", "old", 3).await;
    let mut block = post("b1");
    block.content_type = "block".into();
    block.config.insert("size".into(), "4MiB".into());
    super::create(&app, &root(), "p1", block).await.unwrap();
    std::fs::write(place(&app, "p1", "b1").join("root.img"), vec![5; 4 << 20]).unwrap();
    (app, disks)
}

fn place(app: &TestApp, pool: &str, name: &str) -> PathBuf {
    let custom = app.paths.storage_pool(pool).join("custom");
    custom.join(format!("default_{name}"))
}

async fn make(app: &TestApp, pool: &str, name: &str, content: u8) {
    super::create(app, &root(), pool, post(name)).await.unwrap();
    write(app, pool, name, content);
}

/// One large file and many small ones.
fn write(app: &TestApp, pool: &str, name: &str, content: u8) {
    let place = place(app, pool, name);
    std::fs::write(place.join("f"), vec![content; CONTENT]).unwrap();
    for number in 0..50 {
        std::fs::write(place.join(format!("small{number}")), [content; 100]).unwrap();
    }
}

async fn take(app: &TestApp, pool: &str, volume: &str, name: &str) -> Result<()> {
    let post = StorageVolumeSnapshotsPost {
        name: name.into(),
        ..StorageVolumeSnapshotsPost::default()
    };
    let taken = snapshots::create(app, &root(), [pool, "custom", volume], post).await?;
    taken.outcome().await
}

async fn copy(app: &TestApp, [pool, source]: [&str; 2], name: &str, is_refresh: bool) -> Result<()> {
    let mut post: StorageVolumesPost = post(name);
    post.source.r#type = "copy".into();
    post.source.pool = pool.into();
    post.source.name = source.into();
    post.source.refresh = is_refresh;
    let operation = super::create(app, &root(), "p1", post).await?;
    operation.expect("copies are operations").outcome().await
}

async fn relocate(app: &TestApp, from: [&str; 2], to: [&str; 2]) -> Result<()> {
    let post = StorageVolumePost {
        pool: to[0].into(),
        name: to[1].into(),
        ..StorageVolumePost::default()
    };
    match rename(app, &root(), [from[0], "custom", from[1]], post).await? {
        Moved::Moving(operation) => operation.outcome().await,
        Moved::Renamed(_) => Ok(()),
    }
}

async fn restore(app: &TestApp, snapshot: &str) -> Result<()> {
    let put = StorageVolumePut {
        restore: snapshot.into(),
        ..StorageVolumePut::default()
    };
    update(app, &root(), ["p1", "custom", "v1"], put, None).await
}

fn archive(app: &TestApp) -> PathBuf {
    let folder = app.paths.volume_backups("p2", "default", "v1");
    folder.join("b0")
}

async fn back_up(app: &TestApp) {
    let post = StoragePoolVolumeBackupsPost {
        name: "b0".into(),
        compression_algorithm: "zstd".into(),
        ..StoragePoolVolumeBackupsPost::default()
    };
    let made = backups::create(app, &root(), ["p2", "custom", "v1"], post).await;
    made.unwrap().outcome().await.unwrap();
}

async fn import(app: &TestApp) -> Result<()> {
    let bytes = std::fs::read(archive(app)).unwrap();
    let stream = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(bytes))]);
    let received = backups::receive(app, &root(), stream).await?;
    let request = backups::Request {
        pool: "p1".into(),
        name: "new".into(),
    };
    backups::import(app, &root(), received, request)
        .await?
        .outcome()
        .await
}

async fn remove(app: &TestApp, name: &str) -> Result<()> {
    super::delete(app, &root(), ["p1", "custom", name]).await
}

async fn ask(app: &TestApp, wish: &str) -> Result<()> {
    match wish {
        "create" => super::create(app, &root(), "p1", post("new")).await.map(drop),
        "block" => {
            let mut post = post("new");
            post.content_type = "block".into();
            post.config.insert("size".into(), "8MiB".into());
            super::create(app, &root(), "p1", post).await.map(drop)
        }
        "copy" => copy(app, ["p1", "v1"], "new", false).await,
        "copy block" => copy(app, ["p1", "b1"], "new", false).await,
        "bring" => copy(app, ["p2", "v1"], "new", false).await,
        "refresh" => copy(app, ["p2", "v1"], "old", true).await,
        "snapshot" => take(app, "p1", "v1", "s1").await,
        "restore" => restore(app, "s0").await,
        "move" => relocate(app, ["p2", "v1"], ["p1", "new"]).await,
        "import" => import(app).await,
        "rename" => relocate(app, ["p1", "v1"], ["p1", "new"]).await,
        "delete" => remove(app, "old").await,
        _ => unreachable!("{wish}"),
    }
}

/// Makes good what was granted; there is room again.
async fn take_back(app: &TestApp, wish: &str) {
    match wish {
        "refresh" => {
            remove(app, "old").await.unwrap();
            make(app, "p1", "old", 3).await;
        }
        "snapshot" => {
            let path = ["p1", "custom", "v1"];
            let gone = snapshots::delete(app, &root(), path, "s1").await.unwrap();
            gone.outcome().await.unwrap();
        }
        "restore" => write(app, "p1", "v1", 2),
        "move" => {
            relocate(app, ["p1", "new"], ["p2", "v1"]).await.unwrap();
            back_up(app).await;
        }
        "rename" => relocate(app, ["p1", "new"], ["p1", "v1"]).await.unwrap(),
        "delete" => make(app, "p1", "old", 3).await,
        _ => remove(app, "new").await.unwrap(),
    }
}

/// All rows, files, mounts and half done works.
async fn world(app: &TestApp) -> Vec<String> {
    let mut found = Vec::new();
    for pool in ["p1", "p2"] {
        app.pools.get(pool).unwrap().settle().await.unwrap();
        let rows = list(app, &root(), pool, None, true).await.unwrap();
        let named = |row: StorageVolume| {
            format!(
                "{pool} {} {} {:?} {}",
                row.r#type, row.name, row.config, row.content_type
            )
        };
        found.extend(rows.into_iter().map(named));
        let root = app.paths.storage_pool(pool);
        for folder in ["custom", "custom-snapshots", ".lxd-staging"] {
            let named = |file| format!("{pool} {folder}/{file}");
            found.extend(files(&root.join(folder)).into_iter().map(named));
        }
    }
    let mounts = lxd_sys::mount::mounts_beneath(app.paths.root()).unwrap();
    found.extend(mounts.into_iter().map(|mount| mount.target.display().to_string()));
    let open = app.journal.unfinished().await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    assert!(app.operations.running().is_empty());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_volumes_stay_as_they_are() {
    let each = DRIVERS.map(|driver| tokio::spawn(volumes_stay_as_they_are_on(driver)));
    for one in each {
        one.await.unwrap();
    }
}

async fn volumes_stay_as_they_are_on(driver: &'static str) {
    let (app, disks) = start(driver).await;
    let disk = &disks[0];
    back_up(&app).await;
    let before = world(&app).await;
    for wish in WISHES {
        for room in ROOM {
            let about = format!("{wish} on {driver} with {room} bytes");
            disk.fill(room);
            let granted = ask(&app, wish).await;
            if let Err(error) = &granted {
                assert!(is_no_room(error), "{about}: {}", error.text());
                assert_same(&world(&app).await, &before, &format!("{about}: {}", error.text()));
            }
            disk.clear();
            match granted {
                Ok(()) => take_back(&app, wish).await,
                // Deleting needs no room.
                Err(error) => assert_ne!(wish, "delete", "{about}: {}", error.text()),
            }
            assert_same(&world(&app).await, &before, &about);
        }
        ask(&app, wish)
            .await
            .unwrap_or_else(|error| panic!("{wish} on {driver}: {}", error.text()));
        take_back(&app, wish).await;
        assert_same(&world(&app).await, &before, &format!("{wish} on {driver}"));
    }
}

/// The folders of the daemon's that can be in volumes, with a file that has no room in the pool.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_the_daemons_folders_stay_where_they_are() {
    let (app, disks) = start("overlay").await;
    for (key, folder) in [
        ("storage.images_volume", app.paths.images()),
        ("storage.backups_volume", app.paths.backups()),
    ] {
        make(&app, "p1", "new", 0).await;
        let volume = place(&app, "p1", "new");
        lxd_sys::path::remove_contents(&volume).unwrap();
        std::fs::write(folder.join("large"), vec![1; CONTENT]).unwrap();
        let before = (world(&app).await, files(&folder));
        let set = async |value: &str| {
            let put = lxd_api::server::ServerPut {
                config: [(key.to_owned(), value.into())].into(),
            };
            crate::server::patch(&app, &root(), put, None).await
        };
        for room in [0, 64 << 10] {
            disks[0].fill(room);
            let error = set("p1/new").await.unwrap_err();
            assert!(is_no_room(&error), "{}", error.text());
            assert!(!folder.is_symlink());
            disks[0].clear();
            assert_same(&world(&app).await, &before.0, key);
            assert_same(&files(&folder), &before.1, key);
        }
        set("p1/new").await.unwrap();
        assert!(folder.is_symlink());
        set("").await.unwrap();
        assert_same(&files(&folder), &before.1, key);
        remove(&app, "new").await.unwrap();
    }
}

/// Archives in the making, in a folder without room.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_no_backup_is_made() {
    for driver in DRIVERS {
        let (app, _disks) = start(driver).await;
        let disk = Disk::over(&app.paths.backups(), 16 << 20);
        let before = world(&app).await;
        for (algorithm, is_optimized) in [("none", false), ("zstd", false), ("none", true)] {
            // What shrinks well needs next to nothing.
            let some = if algorithm == "none" { 12 << 10 } else { 0 };
            for room in [0, some] {
                let about = format!("{algorithm} on {driver} with {room} bytes");
                disk.fill(room);
                let post = StoragePoolVolumeBackupsPost {
                    name: "b0".into(),
                    compression_algorithm: algorithm.into(),
                    optimized_storage: is_optimized,
                    ..StoragePoolVolumeBackupsPost::default()
                };
                let path = ["p1", "custom", "v1"];
                let made = backups::create(&app, &root(), path, post).await.unwrap();
                let error = made.outcome().await.expect_err(&about);
                assert!(is_no_room(&error), "{about}: {}", error.text());
                assert_same(&world(&app).await, &before, &about);
                assert_eq!(backups::list(&app, &root(), path).await.unwrap(), [], "{about}");
                disk.clear();
                let left: Vec<String> = files(&app.paths.backups());
                assert!(
                    left.iter().all(|file| file.contains("FileType")),
                    "{about}: {left:?}"
                );
            }
        }
        back_up(&app).await;
    }
}
