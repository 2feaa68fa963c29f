//! Volumes that go from a server to another: both ends in one daemon, under every fault.

use std::sync::Arc;

use lxd_api::storage_volumes::StorageVolumesPost;

use super::home::Home;
use super::receive::{Incoming, Receive, Renew};
use super::tests::{app_with_pool, post, read, write};
use super::*;
use crate::migration::{Ends, Held};
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

/// Looks whether the copy is as a whole what it was, or what it was to become.
async fn is_old_or_new(app: &TestApp) -> bool {
    let row = row(app, "r1").await.unwrap();
    let mut tx = app.cluster.read().await.unwrap();
    let saved = snapshots::Saved::all(&mut tx, row.id).await.unwrap();
    drop(tx);
    let names: Vec<&str> = saved.iter().map(|one| one.name.as_str()).collect();
    let is_new = read(app, "custom/default_r1") == "three";
    if is_new {
        assert_eq!(names, ["s0", "s1"]);
        assert_eq!(read(app, "custom-snapshots/default_r1/s1"), "three");
    } else {
        assert_eq!(read(app, "custom/default_r1"), "two");
        assert_eq!(names, ["s0"]);
    }
    app.pools.get("p1").unwrap().settle().await.unwrap();
    let custom = app.pools.get("p1").unwrap().root().join("custom");
    assert_eq!(std::fs::read_dir(custom).unwrap().count(), 2);
    is_new
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_renewed_is_the_old_or_the_new_one() {
    use crate::operations::{Verdict, Work as _};
    let app = start().await;
    let source = row(&app, "v1").await.unwrap();
    let first = || Receive::new(incoming(&app, &post("r1"), source.clone()));
    crate::operations::run(&app, &root(), first()).await.unwrap();
    for step in Renew::steps() {
        for is_death in [false, true] {
            // The source as it was, a copy of it, and then something new to fetch.
            delete(&app, &root(), ["p1", "custom", "r1"]).await.unwrap();
            write(&app, "default_v1", "two");
            crate::operations::run(&app, &root(), first()).await.unwrap();
            write(&app, "default_v1", "three");
            snapshot(&app, "s1").await;
            let name = step.name;
            app.faults.set(move |_, at, when| {
                let is_it = at == name && format!("{when:?}") == "After";
                match (is_it, is_death) {
                    (false, _) => Verdict::Go,
                    (true, true) => Verdict::Crash,
                    (true, false) => Verdict::Fail(Error::internal("on purpose")),
                }
            });
            let work = Renew::new(incoming(&app, &post("r1"), source.clone()));
            assert!(
                crate::operations::run(&app, &root(), work).await.is_err(),
                "{name}"
            );
            app.faults.clear();
            crate::operations::recover(&app).await.unwrap();
            is_old_or_new(&app).await;
            let gone = snapshots::delete(&app, &root(), ["p1", "custom", "v1"], "s1").await;
            gone.unwrap().outcome().await.unwrap();
        }
    }
    write(&app, "default_v1", "three");
    snapshot(&app, "s1").await;
    let work = Renew::new(incoming(&app, &post("r1"), source.clone()));
    crate::operations::run(&app, &root(), work).await.unwrap();
    assert!(is_old_or_new(&app).await);
}
