//! Backups of instances without room, for their archives or for what is made of them.

use bytes::Bytes;

use super::make::Make;
use super::tests::{backup, file};
use super::{Request, import, receive};
use crate::error::Result;
use crate::instances::snapshots::{New, take_locked};
use crate::instances::tests::{key, make, root_in_profile};
use crate::instances::{Wanted, delete, list};
use crate::operations;
use crate::testing::disk::{Disk, assert_same, files, is_no_room, small_pool};
use crate::testing::{TestApp, root};

/// Bytes of the instance's file.
const CONTENT: usize = 3 << 20;

/// A daemon with a small pool and c1 in it, which has a snapshot.
async fn start(driver: &str) -> (TestApp, Vec<Disk>) {
    let app = TestApp::start().await;
    let disks = small_pool(&app, "p1", driver).await;
    root_in_profile(&app).await;
    make(&app, "c1").await;
    write(&app, 1).await;
    let new = New {
        name: "s0".into(),
        expires_at: lxd_api::Time::never(),
        stateful: false,
    };
    take_locked(&app, &root(), &key("c1"), new, None).await.unwrap();
    write(&app, 2).await;
    (app, disks)
}

async fn write(app: &TestApp, content: u8) {
    let volume = lxd_storage::Volume::container("default", "c1");
    let access = app.pools.get("p1").unwrap().access(&volume).await.unwrap();
    std::fs::write(access.rootfs().join("f"), vec![content; CONTENT]).unwrap();
}

async fn world(app: &TestApp) -> Vec<String> {
    app.pools.get("p1").unwrap().settle().await.unwrap();
    let rows = list::list(app, &root(), Wanted::default()).await.unwrap();
    let mut found: Vec<String> = rows.into_iter().map(|row| row.name).collect();
    let pool = app.paths.storage_pool("p1");
    for folder in ["containers", "containers-snapshots", ".lxd-staging"] {
        let all = files(&pool.join(folder));
        found.extend(all.into_iter().map(|file| format!("{folder}/{file}")));
    }
    found.extend(files(&app.paths.containers()));
    found.extend(files(&app.paths.root().join("snapshots")));
    assert!(app.journal.unfinished().await.unwrap().is_empty());
    assert!(app.operations.running().is_empty());
    found
}

async fn bring_back(app: &TestApp, archive: &[u8]) -> Result<()> {
    let stream = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(archive))]);
    let received = receive(app, &root(), stream).await?;
    let request = Request {
        name: "c2".into(),
        pool: String::new(),
    };
    import(app, &root(), received, request).await?.outcome().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_no_backup_is_made_and_no_instance_comes_back() {
    for driver in ["btrfs", "dir", "overlay"] {
        let (app, disks) = start(driver).await;
        for (name, is_optimized) in [("b1", false), ("b2", driver == "btrfs")] {
            let make = || Make {
                is_optimized,
                ..backup(name)
            };
            operations::run(&app, &root(), make()).await.unwrap();
            let archive = std::fs::read(file(&app, name)).unwrap();
            let before = world(&app).await;
            for room in [0, 64 << 10, 2 << 20] {
                let about = format!("import of {name} on {driver} with {room} bytes");
                disks[0].fill(room);
                let error = bring_back(&app, &archive).await.expect_err(&about);
                assert!(is_no_room(&error), "{about}: {}", error.text());
                assert_same(&world(&app).await, &before, &about);
                disks[0].clear();
            }
            bring_back(&app, &archive).await.unwrap();
            delete::run(&app, &root(), &key("c2"), None).await.unwrap();
            assert_same(&world(&app).await, &before, driver);
        }
        let disk = Disk::over(&app.paths.backups(), 16 << 20);
        let before = world(&app).await;
        for (algorithm, is_optimized) in [("none", false), ("zstd", false), ("none", driver == "btrfs")] {
            let make = || Make {
                algorithm: algorithm.into(),
                is_optimized,
                ..backup("b3")
            };
            // What shrinks well needs next to nothing.
            let some = if algorithm == "none" { 4096 } else { 0 };
            for room in [0, some] {
                let about = format!("{algorithm} on {driver} with {room} bytes");
                disk.fill(room);
                let error = operations::run(&app, &root(), make())
                    .await
                    .map(drop)
                    .expect_err(&about);
                assert!(is_no_room(&error), "{about}: {}", error.text());
                assert_same(&world(&app).await, &before, &about);
                disk.clear();
                assert!(!file(&app, "b3").exists());
            }
            operations::run(&app, &root(), make()).await.unwrap();
            operations::run(&app, &root(), super::tests::end("b3"))
                .await
                .unwrap();
        }
    }
}
