//! Tests of what becomes of an instance that is saved while it runs.

use lxd_api::Time;
use lxd_instance::lifecycle::Phase;

use super::saving::{self, Save};
use super::snapshots::{New, take_locked};
use super::start::Start;
use super::tests::{daemon, key, make, record, under_faults};
use super::{snapshots, start, stop};
use crate::operations::testing;
use crate::testing::{TestApp, root};

fn phase(app: &TestApp) -> Phase {
    app.instances.registry.phase(&key("c1"))
}

/// Whether the row says that it was saved, and whether it was.
async fn is_saved(app: &TestApp) -> [bool; 2] {
    let folder = app.paths.container("default", "c1").join("state");
    [record(app, "c1").await.unwrap().row.stateful, folder.is_dir()]
}

#[tokio::test]
async fn what_runs_is_saved_and_stops_or_goes_on() {
    let app = daemon().await;
    make(&app, "c1").await;
    let before = async || {
        if phase(&app) == Phase::Stopped {
            start::run(&app, &root(), &key("c1"), None).await.unwrap();
        }
        assert_eq!(
            is_saved(&app).await,
            [false; 2],
            "a start is the end of what was saved"
        );
    };
    let work = async || Save::new(&record(&app, "c1").await.unwrap());
    let after = async |_| {
        let has_stopped = phase(&app) == Phase::Stopped;
        assert_eq!(is_saved(&app).await, [has_stopped; 2]);
    };
    under_faults(&app, before, work, after).await;
}

#[tokio::test]
async fn what_was_saved_goes_on_or_is_kept() {
    let app = daemon().await;
    make(&app, "c1").await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    let save = async || saving::stop(&app, &root(), &key("c1"), None).await.unwrap();
    save().await;
    let own = record(&app, "c1").await.unwrap().row.config;
    let is_clean = async || {
        assert_eq!(phase(&app), Phase::Stopped);
        assert_eq!(is_saved(&app).await, [true; 2]);
    };
    let make = || Start::of(&key("c1"), own.clone()).resuming();
    testing::check_with(&app, &root(), make, save, is_clean).await;
    start::resume(&app, &root(), &key("c1"), None).await.unwrap();
    assert_eq!(is_saved(&app).await, [false; 2]);
    stop::run(&app, &root(), &key("c1"), stop::how(true, 0), None)
        .await
        .unwrap();
    let refused = start::resume(&app, &root(), &key("c1"), None).await.unwrap_err();
    assert_eq!(refused.text(), "Container has no existing state to restore");
}

#[tokio::test]
async fn a_snapshot_has_what_ran_and_the_instance_keeps_nothing_of_it() {
    let app = daemon().await;
    make(&app, "c1").await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    let own = record(&app, "c1").await.unwrap();
    let taken = app.paths.storage_pool("p1").join("containers-snapshots/c1/s0");
    let new = || New {
        name: "s0".into(),
        expires_at: Time::never(),
        stateful: true,
    };
    let is_clean = async || {
        assert!(!taken.exists());
        assert_eq!(is_saved(&app).await, [false; 2]);
        assert_eq!(phase(&app), Phase::Running);
    };
    let remove = async || {
        assert!(taken.join("state").is_dir());
        assert_eq!(is_saved(&app).await, [false; 2]);
        let mut tx = app.cluster.read().await.unwrap();
        let saved = snapshots::Saved::all(&mut tx, own.row.id).await.unwrap();
        drop(tx);
        let [saved] = <[_; 1]>::try_from(saved).unwrap();
        assert!(saved.stateful);
        snapshots::remove(&app, &root(), &key("c1"), "s0", None)
            .await
            .unwrap();
    };
    let work = || snapshots::Create::new(&app, &own, new());
    testing::check_with(&app, &root(), work, remove, is_clean).await;
    stop::run(&app, &root(), &key("c1"), stop::how(true, 0), None)
        .await
        .unwrap();
    let refused = take_locked(&app, &root(), &key("c1"), new(), None)
        .await
        .unwrap_err();
    let text = "Unable to create a stateful snapshot. The instance isn't running";
    assert_eq!(refused.text(), text);
}
