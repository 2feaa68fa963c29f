//! Works on snapshots under every fault; schedules and expiry.

use std::sync::Arc;

use lxd_api::Time;
use lxd_api::instance_snapshots::InstanceSnapshotsPost;
use lxd_api::instances::InstancePut;
use lxd_db::cluster::instances as instance_rows;
use lxd_db::cluster::instances::snapshots as snapshot_rows;
use lxd_db::cluster::storage_volumes;
use lxd_instance::lifecycle::Phase;
use lxd_model::config::Config;

use super::create::{Create, New};
use super::delete::Delete;
use super::rename::Rename;
use super::restore::Restore;
use super::rows::Saved;
use super::{schedule, wire};
use crate::app::App;
use crate::instances::tests::{daemon, key, make, record};
use crate::instances::{delete, start, stop};
use crate::operations::{self, testing};
use crate::testing::root;

fn new(name: &str) -> New {
    New {
        name: name.into(),
        expires_at: Time::never(),
        stateful: false,
    }
}

async fn take(app: &Arc<App>, name: &str) {
    super::take_locked(app, &root(), &key("c1"), new(name), None)
        .await
        .unwrap();
}

async fn remove(app: &Arc<App>, name: &str) {
    super::remove(app, &root(), &key("c1"), name, None).await.unwrap();
}

async fn saved(app: &App, name: &str) -> Option<Saved> {
    let id = record(app, "c1").await.unwrap().row.id;
    let mut tx = app.cluster.read().await.unwrap();
    let row = snapshot_rows::get(&mut tx, id, name).await.ok()?;
    Some(row.into())
}

/// Which parts of a snapshot are there: its row, its volume's row, its files.
async fn parts(app: &App, name: &str) -> [bool; 3] {
    let mut tx = app.cluster.read().await.unwrap();
    let volumes = storage_volumes::list(&mut tx, storage_volumes::Filter::default())
        .await
        .unwrap();
    let ids: Vec<i64> = volumes.iter().map(|volume| volume.id).collect();
    let rows = storage_volumes::snapshots::list(&mut tx, &ids).await.unwrap();
    drop(tx);
    let pool = app.paths.storage_pool("p1");
    [
        saved(app, name).await.is_some(),
        rows.iter().any(|row| row.name == name),
        pool.join("containers-snapshots/c1").join(name).is_dir(),
    ]
}

fn root_file(app: &App) -> std::path::PathBuf {
    app.paths.container("default", "c1").join("rootfs/f")
}

async fn set_config(app: &Arc<App>, pairs: &[(&str, &str)]) {
    let record = record(app, "c1").await.unwrap();
    let changes: Config = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let mut tx = app.cluster.begin().await.unwrap();
    instance_rows::change_config(&mut tx, record.row.id, &changes)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_taken_whole_or_not_at_all() {
    let app = daemon().await;
    make(&app, "c1").await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    let own = record(&app, "c1").await.unwrap();
    let is_clean = async || {
        assert_eq!(parts(&app, "s0").await, [false; 3]);
        assert_eq!(app.instances.registry.phase(&key("c1")), Phase::Running);
    };
    let undo = async || {
        assert_eq!(parts(&app, "s0").await, [true; 3]);
        assert_eq!(app.instances.registry.phase(&key("c1")), Phase::Running);
        remove(&app, "s0").await;
    };
    testing::check_with(
        &app,
        &root(),
        || Create::new(&app, &own, new("s0")),
        undo,
        is_clean,
    )
    .await;
}

#[tokio::test]
async fn a_failed_snapshot_leaves_the_one_of_its_name_alone() {
    let app = daemon().await;
    make(&app, "c1").await;
    take(&app, "s0").await;
    let again = super::take_locked(&app, &root(), &key("c1"), new("s0"), None).await;
    assert_eq!(
        again.unwrap_err().text(),
        "Failed creating instance snapshot record \"s0\": Add snapshot info to the database: This \
         \"instances_snapshots\" entry already exists"
    );
    assert_eq!(parts(&app, "s0").await, [true; 3]);
}

#[tokio::test]
async fn a_snapshot_is_deleted_or_that_has_not_begun() {
    let app = daemon().await;
    make(&app, "c1").await;
    let before = async || {
        if saved(&app, "s0").await.is_none() {
            take(&app, "s0").await;
        }
    };
    let work = async || {
        let record = record(&app, "c1").await.unwrap();
        Delete::new(&record, saved(&app, "s0").await.unwrap())
    };
    let after = async |crashed: bool| {
        let parts = parts(&app, "s0").await;
        assert!(
            parts == [false; 3] || (parts == [true; 3] && !crashed),
            "{parts:?}"
        );
    };
    crate::instances::tests::under_faults(&app, before, work, after).await;
}

#[tokio::test]
async fn a_snapshot_is_renamed_or_not() {
    let app = daemon().await;
    make(&app, "c1").await;
    take(&app, "s0").await;
    let own = record(&app, "c1").await.unwrap();
    let mut tx = app.cluster.read().await.unwrap();
    let id = snapshot_rows::get(&mut tx, own.row.id, "s0").await.unwrap().id;
    drop(tx);
    let is_clean = async || {
        assert_eq!(parts(&app, "s0").await, [true; 3]);
        assert_eq!(parts(&app, "s1").await, [false; 3]);
    };
    let back = async || {
        let work = Rename::of(&own, id, "s1", "s0");
        operations::run(&app, &root(), work).await.unwrap();
    };
    testing::check_with(&app, &root(), || Rename::of(&own, id, "s0", "s1"), back, is_clean).await;
}

#[tokio::test]
async fn a_restore_is_whole_or_undone_or_finished() {
    let app = daemon().await;
    make(&app, "c1").await;
    std::fs::write(root_file(&app), "old").unwrap();
    take(&app, "s0").await;
    set_config(&app, &[("user.note", "new")]).await;
    let before = async || {
        if app.instances.registry.phase(&key("c1")) == Phase::Stopped {
            std::fs::write(root_file(&app), "new").unwrap();
            set_config(&app, &[("user.note", "new")]).await;
            start::run(&app, &root(), &key("c1"), None).await.unwrap();
        }
    };
    let work = async || {
        let record = record(&app, "c1").await.unwrap();
        Restore::new(&app, &record, saved(&app, "s0").await.unwrap())
    };
    let after = async |crashed: bool| {
        let text = std::fs::read_to_string(root_file(&app)).unwrap();
        let note = record(&app, "c1")
            .await
            .unwrap()
            .row
            .config
            .get("user.note")
            .cloned();
        let is_restored = text == "old" && note.is_none();
        let is_as_before = text == "new" && note.as_deref() == Some("new");
        assert!(is_restored || (is_as_before && !crashed), "{text} {note:?}");
        let staging = app.paths.storage_pool("p1").join(".lxd-staging");
        app.pools.get("p1").unwrap().settle().await.unwrap();
        assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
        let phase = app.instances.registry.phase(&key("c1"));
        let is_owed = app.instances.take_owed().contains(&key("c1"));
        assert!(phase == Phase::Running || is_owed, "{phase:?}");
        if phase == Phase::Running {
            stop::run(&app, &root(), &key("c1"), stop::how(true, 0), None)
                .await
                .unwrap();
        }
    };
    crate::instances::tests::under_faults(&app, before, work, after).await;
}

#[tokio::test]
async fn snapshots_go_with_their_instance_and_come_back_with_it() {
    let app = daemon().await;
    make(&app, "c1").await;
    take(&app, "s0").await;
    let put = InstancePut {
        restore: "c1/s0".into(),
        ..InstancePut::default()
    };
    let restored = crate::instances::update(&app, &root(), "c1", put, None)
        .await
        .unwrap();
    restored.outcome().await.unwrap();
    let full = crate::instances::get_full(&app, &root(), "c1", None)
        .await
        .unwrap();
    let names: Vec<String> = full
        .value
        .snapshots
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["s0"]);
    delete::run(&app, &root(), &key("c1"), None).await.unwrap();
    let folder = app.paths.storage_pool("p1").join("containers-snapshots");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

#[tokio::test]
async fn names_and_expiry_come_from_the_configuration() {
    let app = daemon().await;
    make(&app, "c1").await;
    let create = async |post: InstanceSnapshotsPost| {
        let taken = super::create(&app, &root(), "c1", post).await?;
        taken.outcome().await
    };
    create(InstanceSnapshotsPost::default()).await.unwrap();
    set_config(&app, &[("snapshots.pattern", "x"), ("snapshots.expiry", "1d")]).await;
    create(InstanceSnapshotsPost::default()).await.unwrap();
    let never = InstanceSnapshotsPost {
        expires_at: Some(Time::never()),
        ..InstanceSnapshotsPost::default()
    };
    create(never).await.unwrap();
    let all = super::list(&app, &root(), "c1").await.unwrap();
    let shown: Vec<_> = all
        .iter()
        .map(|one| (one.name.as_str(), one.expires_at.is_never()))
        .collect();
    assert_eq!(shown, [("snap0", true), ("x", false), ("x-0", true)]);
    for (name, text) in [
        ("a/b", "Invalid snapshot name: Cannot contain \"/\""),
        ("a?b", "Invalid snapshot name: Cannot contain \"?\""),
        ("a&b", "Invalid snapshot name: Cannot contain \"&\""),
        (
            "a b",
            "Failed creating instance snapshot record \"a b\": Invalid instance snapshot name: Cannot contain space or / \
             characters",
        ),
    ] {
        let post = InstanceSnapshotsPost {
            name: name.into(),
            ..InstanceSnapshotsPost::default()
        };
        assert_eq!(create(post).await.unwrap_err().text(), text);
    }
    let stateful = InstanceSnapshotsPost {
        stateful: true,
        ..InstanceSnapshotsPost::default()
    };
    assert_eq!(
        create(stateful).await.unwrap_err().text(),
        "Unable to create a stateful snapshot. The instance isn't running"
    );
}

#[tokio::test]
async fn schedules_take_and_time_takes_away() {
    let app = daemon().await;
    make(&app, "c1").await;
    let names = async || {
        let all = super::list(&app, &root(), "c1").await.unwrap();
        all.into_iter().map(|one| one.name).collect::<Vec<String>>()
    };
    set_config(&app, &[("snapshots.schedule", "* * * * *")]).await;
    schedule::take_due(&app).await.unwrap();
    assert_eq!(names().await, Vec::<String>::new(), "it does not run");
    set_config(&app, &[("snapshots.schedule.stopped", "true")]).await;
    schedule::take_due(&app).await.unwrap();
    schedule::take_due(&app).await.unwrap();
    assert_eq!(names().await, ["snap0", "snap1"]);
    set_config(&app, &[("snapshots.schedule", "@startup")]).await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    assert_eq!(names().await, ["snap0", "snap1", "snap2"]);
    let put = lxd_api::instance_snapshots::InstanceSnapshotPut {
        expires_at: Time::from_unix(1_700_000_000),
    };
    let updated = super::update(&app, &root(), ("c1", "snap1"), put, None)
        .await
        .unwrap();
    updated.outcome().await.unwrap();
    schedule::prune(&app).await.unwrap();
    assert_eq!(names().await, ["snap0", "snap2"]);
    let record = record(&app, "c1").await.unwrap();
    let mut tx = app.cluster.read().await.unwrap();
    let row = snapshot_rows::get(&mut tx, record.row.id, "snap0").await.unwrap();
    assert_eq!(wire(&record, row).size, -1);
}
