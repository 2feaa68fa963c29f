//! Instances that go from a server to another: both ends in one daemon, under every fault.

use std::sync::Arc;

use lxd_model::devices::Devices;

use super::receive::{Receive, place_root};
use super::renew::Renew;
use super::send::{self, Wish};
use super::*;
use crate::app::App;
use crate::instances::delete;
use crate::instances::record::Record;
use crate::instances::snapshots::{self, New};
use crate::instances::source::Files;
use crate::instances::tests::{daemon, key, make, parts, work};
use crate::migration::{Ends, Held};
use crate::operations::{self, Kind, Options, Verdict, testing};
use crate::testing::{TestApp, root};

async fn take(app: &Arc<App>, name: &str) {
    let new = New {
        name: name.into(),
        expires_at: Time::never(),
        stateful: false,
    };
    snapshots::take_locked(app, &root(), &key("c1"), new, None)
        .await
        .unwrap();
}

fn file(app: &App, place: &str) -> std::path::PathBuf {
    app.paths.container("default", place).join("rootfs/f")
}

fn read(app: &App, place: &str) -> String {
    std::fs::read_to_string(file(app, place)).unwrap_or_default()
}

async fn names(app: &App, name: &str) -> Vec<String> {
    let mut tx = app.cluster.read().await.unwrap();
    let record = Record::load(&mut tx, "default", name).await.unwrap();
    let all = Saved::all(&mut tx, record.row.id).await.unwrap();
    all.into_iter().map(|one| one.name).collect()
}

/// An instance `c1` with a file and a snapshot.
async fn source() -> TestApp {
    let app = daemon().await;
    make(&app, "c1").await;
    std::fs::write(file(&app, "c1"), "one").unwrap();
    take(&app, "s0").await;
    std::fs::write(file(&app, "c1"), "second").unwrap();
    app
}

/// A connection through which `c1` comes.
fn coming(app: &Arc<App>) -> Held {
    let (theirs, ours) = Ends::pair();
    let sender = Arc::clone(app);
    tokio::spawn(async move {
        let options = Options::task(Kind::InstanceMigrate);
        let operation = sender.operations.begin(&root(), options).unwrap();
        // Tests end in the middle of it.
        let _ = send::run(
            &sender,
            &root(),
            (&key("c1"), &Wish::default()),
            &operation,
            theirs,
        )
        .await;
        sender.operations.finish(&operation);
    });
    Held::new(ours)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_leaves_nothing_or_is_whole() {
    let app = source().await;
    let make = || Receive::new(work("r1", Files::Empty), false, coming(&app));
    let is_clean = async || assert_eq!(parts(&app, "r1").await, [false; 5]);
    let remove = async || {
        assert_eq!(parts(&app, "r1").await, [true; 5]);
        assert_eq!(
            (read(&app, "r1").as_str(), names(&app, "r1").await),
            ("second", vec!["s0".to_owned()])
        );
        let kept = app
            .paths
            .storage_pool("p1")
            .join("containers-snapshots/r1/s0/rootfs/f");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "one");
        delete::run(&app, &root(), &key("r1"), None).await.unwrap();
    };
    testing::check_with(&app, &root(), make, remove, is_clean).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_renewed_is_the_old_or_the_new_one() {
    let app = source().await;
    let first = Receive::new(work("r1", Files::Empty), false, coming(&app));
    operations::run(&app, &root(), first).await.unwrap();
    std::fs::write(file(&app, "c1"), "the third").unwrap();
    take(&app, "s1").await;
    let (copy, present) = {
        let mut tx = app.cluster.read().await.unwrap();
        let copy = Record::load(&mut tx, "default", "r1").await.unwrap();
        let present = Saved::all(&mut tx, copy.row.id).await.unwrap();
        (copy, present)
    };
    let renew = || Renew::new(&copy, present.clone(), (false, coming(&app)));
    let is_old = async || {
        assert_eq!(read(&app, "r1"), "second");
        assert_eq!(names(&app, "r1").await, ["s0"]);
        let folder = app.paths.storage_pool("p1").join("containers");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);
    };
    let died_at = |name: &'static str, is_death: bool| {
        app.faults.set(move |_, step, when| {
            match (step == name && format!("{when:?}") == "After", is_death) {
                (false, _) => Verdict::Go,
                (true, true) => Verdict::Crash,
                (true, false) => Verdict::Fail(Error::internal("on purpose")),
            }
        });
    };
    for (name, is_death) in [
        ("greet", true),
        ("rows", true),
        ("greet", false),
        ("rows", false),
        ("fetch", false),
        ("snapshots", false),
        ("ids", false),
        ("volume", false),
        // From here on all has come, so that it is finished.
        ("volume", true),
    ] {
        died_at(name, is_death);
        assert!(operations::run(&app, &root(), renew()).await.is_err(), "{name}");
        app.faults.clear();
        operations::recover(&app).await.unwrap();
        if (name, is_death) != ("volume", true) {
            is_old().await;
        }
    }
    assert_eq!(
        (read(&app, "r1").as_str(), names(&app, "r1").await),
        ("the third", vec!["s0".to_owned(), "s1".to_owned()])
    );
}

#[test]
fn a_root_disk_is_in_a_pool_that_is_here() {
    let devices = |json: &str| serde_json::from_str::<Devices>(json).unwrap();
    let pools = ["p1".to_owned()];
    for (own, profiles, expected) in [
        ("{}", "{}", r#"{"root":{"type":"disk","path":"/","pool":"p1"}}"#),
        (
            r#"{"r":{"type":"disk","path":"/","pool":"p9"}}"#,
            "{}",
            r#"{"r":{"type":"disk","path":"/","pool":"p1"}}"#,
        ),
        ("{}", r#"{"r":{"type":"disk","path":"/","pool":"p1"}}"#, "{}"),
    ] {
        let mut own = devices(own);
        place_root(&mut own, &devices(profiles), &pools);
        assert_eq!(own, devices(expected));
    }
}
