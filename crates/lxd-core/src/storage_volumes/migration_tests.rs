//! Volumes that go from a server to another: both ends in one daemon, under every fault.

use std::sync::Arc;

use lxd_api::storage_volumes::StorageVolumesPost;

use super::home::Home;
use super::receive::{Held, Incoming, Receive, Renew};
use super::tests::{app_with_pool, post, read, write};
use super::*;
use crate::migration::Ends;
use crate::operations::testing;
use crate::testing::{TestApp, root};

async fn snapshot(app: &TestApp, name: &str) {
    let post = lxd_api::storage_volumes::StorageVolumeSnapshotsPost {
        name: name.into(),
        ..Default::default()
    };
    let taken = snapshots::create(app, &root(), ["p1", "custom", "v1"], post).await;
    taken.unwrap().outcome().await.unwrap();
}

/// A volume `v1` with a file and a snapshot.
async fn start() -> TestApp {
    let app = app_with_pool("dir").await;
    create(&app, &root(), "p1", post("v1")).await.unwrap();
    write(&app, "default_v1", "one");
    snapshot(&app, "s0").await;
    write(&app, "default_v1", "two");
    app
}

async fn row(app: &App, name: &str) -> Option<Row> {
    let mut tx = app.cluster.read().await.unwrap();
    Home::new("p1", "default", name).row(&mut tx).await
}

/// A volume that `v1` is being sent to.
fn incoming(app: &Arc<App>, post: &StorageVolumesPost, source: Row) -> Incoming {
    let (mut theirs, ours) = Ends::pair();
    let sender = Arc::clone(app);
    tokio::spawn(async move {
        let options = crate::operations::Options::task(crate::operations::Kind::VolumeMigrate);
        let operation = sender.operations.begin(&root(), options).unwrap();
        // Tests end in the middle of it.
        let _ = send::run(&sender, &operation, &source, false, &mut theirs).await;
        sender.operations.finish(&operation);
    });
    let to = Home::new("p1", "default", &post.name);
    Incoming::new(to, post, Held::new(ours))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_comes_leaves_nothing_or_is_whole() {
    let app = start().await;
    let source = row(&app, "v1").await.unwrap();
    let make = || Receive::new(incoming(&app, &post("r1"), source.clone()));
    testing::check_with(
        &app,
        &root(),
        make,
        async || {
            assert_eq!(read(&app, "custom/default_r1"), "two");
            assert_eq!(read(&app, "custom-snapshots/default_r1/s0"), "one");
            delete(&app, &root(), ["p1", "custom", "r1"]).await.unwrap();
        },
        async || {
            assert!(row(&app, "r1").await.is_none());
            app.pools.get("p1").unwrap().settle().await.unwrap();
            let home = Home::new("p1", "default", "r1");
            assert!(!home.is_on_disk(&app, None).unwrap());
            assert!(!home.is_on_disk(&app, Some("s0")).unwrap());
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_renewed_is_the_old_or_the_new_one() {
    let app = start().await;
    let source = row(&app, "v1").await.unwrap();
    let first = Receive::new(incoming(&app, &post("r1"), source.clone()));
    crate::operations::run(&app, &root(), first).await.unwrap();
    write(&app, "default_v1", "three");
    snapshot(&app, "s1").await;
    let make = || Renew::new(incoming(&app, &post("r1"), source.clone()));
    testing::every_step_fails(&app, &root(), &make, &async || {
        assert_eq!(read(&app, "custom/default_r1"), "two");
        let row = row(&app, "r1").await.unwrap();
        let mut tx = app.cluster.read().await.unwrap();
        assert_eq!(snapshots::Saved::all(&mut tx, row.id).await.unwrap().len(), 1);
        let custom = app.pools.get("p1").unwrap().root().join("custom");
        assert_eq!(std::fs::read_dir(custom).unwrap().count(), 2);
    })
    .await;
    crate::operations::run(&app, &root(), make()).await.unwrap();
    assert_eq!(read(&app, "custom/default_r1"), "three");
    assert_eq!(read(&app, "custom-snapshots/default_r1/s1"), "three");
}
