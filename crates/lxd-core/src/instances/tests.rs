//! Works on instances under every fault, and what clients see of instances that run nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::{InstancePut, InstanceSource, InstancesPost};
use lxd_api::profiles::ProfilePut;
use lxd_api::storage_pools::StoragePoolsPost;
use lxd_db::cluster::storage_volumes;
use lxd_instance::Key;
use lxd_instance::lifecycle::Phase;
use lxd_model::config::Config;
use lxd_model::instances::InstanceType;
use serde_json::json;

use super::copy::Copy;
use super::create::Create;
use super::delete::Delete;
use super::record::Record;
use super::rename::Rename;
use super::source::Files;
use super::start::Start;
use super::stop::Stop;
use super::update::Update;
use super::{Wanted, delete, start, stop};
use crate::app::App;
use crate::error::{Error, Result};
use crate::operations::{self, Verdict, When, Work, recover, testing};
use crate::testing::{TestApp, root};

/// A daemon with a pool, whose default profile has a root disk there.
pub(crate) async fn daemon() -> TestApp {
    let app = TestApp::start().await;
    let post = StoragePoolsPost {
        name: "p1".into(),
        driver: "dir".into(),
        ..StoragePoolsPost::default()
    };
    crate::storage_pools::create(&app, &root(), post).await.unwrap();
    root_in_profile(&app).await;
    app
}

/// Gives the default profile a root disk in the pool.
pub(crate) async fn root_in_profile(app: &TestApp) {
    let disk = [("type", "disk"), ("path", "/"), ("pool", "p1")];
    let disk = disk.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let put = ProfilePut {
        devices: BTreeMap::from([("root".to_owned(), BTreeMap::from(disk))]),
        ..ProfilePut::default()
    };
    crate::profiles::update(app, &root(), "default", put, None)
        .await
        .unwrap();
}

pub(super) fn key(name: &str) -> Key {
    Key::new("default", name)
}

pub(super) fn work(name: &str, files: Files) -> Create {
    let uuid = super::volatile::new_uuid();
    Create {
        project: "default".into(),
        name: name.into(),
        pool: "p1".into(),
        kind: InstanceType::Container,
        architecture: "x86_64".into(),
        description: String::new(),
        ephemeral: false,
        stateful: false,
        config: Config::from([("volatile.uuid".to_owned(), uuid)]),
        devices: BTreeMap::new(),
        profiles: vec!["default".into()],
        files,
    }
}

pub(crate) async fn make(app: &Arc<App>, name: &str) {
    operations::run(app, &root(), work(name, Files::Empty))
        .await
        .unwrap();
}

pub(super) async fn record(app: &App, name: &str) -> Result<Record> {
    let mut tx = app.cluster.read().await?;
    Record::load(&mut tx, "default", name).await
}

/// Which parts of an instance are there: its row, its volume's row, its volume, the link to it, its backup file.
pub(super) async fn parts(app: &App, name: &str) -> [bool; 5] {
    let mut tx = app.cluster.read().await.unwrap();
    let volumes = storage_volumes::list(&mut tx, storage_volumes::Filter::default())
        .await
        .unwrap();
    drop(tx);
    let volume = app.paths.storage_pool("p1").join("containers").join(name);
    [
        record(app, name).await.is_ok(),
        volumes.iter().any(|volume| volume.name == name),
        volume.exists(),
        app.paths.container("default", name).symlink_metadata().is_ok(),
        volume.join("backup.yaml").exists(),
    ]
}

async fn power(app: &App, name: &str) -> String {
    let record = record(app, name).await.unwrap();
    record
        .row
        .config
        .get("volatile.last_state.power")
        .cloned()
        .unwrap_or_default()
}

#[tokio::test]
async fn an_instance_is_made_whole_or_not_at_all() {
    let app = daemon().await;
    let is_clean = async || assert_eq!(parts(&app, "c1").await, [false; 5]);
    let remove = async || {
        assert_eq!(parts(&app, "c1").await, [true; 5]);
        delete::run(&app, &root(), &key("c1"), None).await.unwrap();
    };
    testing::check_with(&app, &root(), || work("c1", Files::Empty), remove, is_clean).await;
}

#[tokio::test]
async fn a_copy_is_made_whole_or_not_at_all() {
    let app = daemon().await;
    make(&app, "c1").await;
    let files = || Files::Instance {
        root: super::snapshots::Root {
            project: "default".into(),
            name: "c1".into(),
            pool: "p1".into(),
        },
        snapshot: None,
    };
    let copy = || Copy::new(&app, work("c2", files()), (Vec::new(), &BTreeMap::new()));
    let is_clean = async || {
        assert_eq!(parts(&app, "c1").await, [true; 5]);
        assert_eq!(parts(&app, "c2").await, [false; 5]);
    };
    let remove = async || {
        assert_eq!(parts(&app, "c2").await, [true; 5]);
        delete::run(&app, &root(), &key("c2"), None).await.unwrap();
    };
    testing::check_with(&app, &root(), copy, remove, is_clean).await;
}

#[tokio::test]
async fn a_failed_create_leaves_the_one_who_has_the_name_alone() {
    let app = daemon().await;
    make(&app, "c1").await;
    let second = operations::run(&app, &root(), work("c1", Files::Empty)).await;
    let error = second.map(drop).unwrap_err();
    assert_eq!(
        error.text(),
        "Failed creating instance record: Add instance info to the database: This \"instances\" entry already exists"
    );
    assert_eq!(parts(&app, "c1").await, [true; 5]);
}

#[tokio::test]
async fn a_start_is_whole_or_undone() {
    let app = daemon().await;
    make(&app, "c1").await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    let force = stop::how(true, 0);
    stop::run(&app, &root(), &key("c1"), force, None).await.unwrap();
    let own = record(&app, "c1").await.unwrap().row.config;
    let is_clean = async || {
        assert_eq!(app.instances.registry.phase(&key("c1")), Phase::Stopped);
        assert_eq!(record(&app, "c1").await.unwrap().row.config, own);
    };
    let remove = async || {
        assert_eq!(app.instances.registry.phase(&key("c1")), Phase::Running);
        assert_eq!(power(&app, "c1").await, "RUNNING");
        stop::run(&app, &root(), &key("c1"), force, None).await.unwrap();
    };
    testing::check_with(
        &app,
        &root(),
        || Start::of(&key("c1"), own.clone()),
        remove,
        is_clean,
    )
    .await;
}

/// Runs a work once for each of its steps and each fault; `before` sets the scene, `after` looks at it.
pub(super) async fn under_faults<W: Work>(
    app: &TestApp,
    before: impl AsyncFn(),
    make: impl AsyncFn() -> W,
    after: impl AsyncFn(bool),
) {
    for step in W::steps() {
        for at in [When::Before, When::After] {
            for crashes in [false, true] {
                before().await;
                let work = make().await;
                app.faults.set(move |_, name, when| match (name, when) {
                    (name, when) if name != step.name || when != at => Verdict::Go,
                    _ if crashes => Verdict::Crash,
                    _ => Verdict::Fail(Error::internal("on purpose")),
                });
                let result = operations::run(app, &root(), work).await;
                app.faults.clear();
                assert!(result.is_err(), "{:?} {at:?}", step.name);
                recover(app).await.unwrap();
                assert!(app.journal.unfinished().await.unwrap().is_empty());
                after(crashes).await;
            }
        }
    }
}

#[tokio::test]
async fn a_stop_is_finished_or_has_not_begun() {
    let app = daemon().await;
    make(&app, "c1").await;
    let before = async || {
        if app.instances.registry.phase(&key("c1")) == Phase::Stopped {
            start::run(&app, &root(), &key("c1"), None).await.unwrap();
        }
    };
    let after = async |crashed: bool| {
        let phase = app.instances.registry.phase(&key("c1"));
        assert!(!crashed || phase == Phase::Stopped, "{phase:?}");
        let wanted = if phase == Phase::Stopped {
            "STOPPED"
        } else {
            "RUNNING"
        };
        assert_eq!(power(&app, "c1").await, wanted);
    };
    let work = async || Stop::new(&key("c1"), stop::how(true, 0));
    under_faults(&app, before, work, after).await;
}

#[tokio::test]
async fn a_delete_is_finished_or_has_not_begun() {
    let app = daemon().await;
    let before = async || {
        if record(&app, "c1").await.is_err() {
            make(&app, "c1").await;
        }
    };
    let after = async |crashed: bool| {
        let parts = parts(&app, "c1").await;
        assert!(
            parts == [false; 5] || (parts == [true; 5] && !crashed),
            "{parts:?}"
        );
    };
    let work = async || Delete::new(&record(&app, "c1").await.unwrap(), Vec::new());
    under_faults(&app, before, work, after).await;
}

#[tokio::test]
async fn a_rename_is_whole_or_undone() {
    let app = daemon().await;
    make(&app, "c1").await;
    let old = record(&app, "c1").await.unwrap();
    let is_clean = async || {
        assert_eq!(record(&app, "c1").await.unwrap().row.config, old.row.config);
        assert_eq!(parts(&app, "c1").await, [true; 5]);
        assert_eq!(parts(&app, "c2").await, [false; 5]);
    };
    let remove = async || {
        let there = record(&app, "c2").await.unwrap();
        assert_eq!(there.row.config["volatile.apply_template"], "rename");
        operations::run(&app, &root(), Rename::of(&there, "c1"))
            .await
            .unwrap();
        let mut tx = app.cluster.begin().await.unwrap();
        let told = ["volatile.apply_template", "volatile.cloud-init.instance-id"];
        let nothing = told.map(|key| (key.to_owned(), String::new())).into();
        let forgotten = lxd_db::cluster::instances::change_config(&mut tx, old.row.id, &nothing).await;
        forgotten.unwrap();
        tx.commit().await.unwrap();
    };
    testing::check_with(&app, &root(), || Rename::of(&old, "c2"), remove, is_clean).await;
}

#[tokio::test]
async fn an_update_is_whole_or_undone() {
    let app = daemon().await;
    make(&app, "c1").await;
    let old = record(&app, "c1").await.unwrap();
    let mut new = old.writable();
    new.config.insert("limits.memory".into(), "1MiB".into());
    let is_clean = async || assert_eq!(record(&app, "c1").await.unwrap().row, old.row);
    let remove = async || {
        let changed = record(&app, "c1").await.unwrap();
        assert_eq!(changed.config["limits.memory"], "1MiB");
        operations::run(&app, &root(), Update::of(&changed, old.writable()))
            .await
            .unwrap();
    };
    testing::check_with(&app, &root(), || Update::of(&old, new.clone()), remove, is_clean).await;
}

#[tokio::test]
async fn an_update_that_was_never_undone_spares_another_instance_of_its_name() {
    let app = daemon().await;
    make(&app, "c1").await;
    let old = record(&app, "c1").await.unwrap();
    let mut new = old.writable();
    new.config.insert("user.note".into(), "mine".into());
    app.faults.set(|_, name, when| match (name, when) {
        ("processes", When::Before) => Verdict::Crash,
        _ => Verdict::Go,
    });
    let crashed = operations::run(&app, &root(), Update::of(&old, new)).await;
    assert!(crashed.is_err());
    app.faults.clear();
    delete::run(&app, &root(), &key("c1"), None).await.unwrap();
    make(&app, "c1").await;
    let other = record(&app, "c1").await.unwrap();
    operations::recover(&app).await.unwrap();
    assert_eq!(record(&app, "c1").await.unwrap().row, other.row);
    assert_eq!(app.journal.unfinished().await.unwrap().len(), 0);
}

type Change = fn(&mut InstancesPost);

fn post(name: &str) -> InstancesPost {
    InstancesPost {
        name: name.into(),
        source: InstanceSource {
            r#type: "none".into(),
            ..InstanceSource::default()
        },
        ..InstancesPost::default()
    }
}

async fn change(app: &TestApp, name: &str, action: &str) -> Result<()> {
    let put = InstanceStatePut {
        action: action.into(),
        force: true,
        ..InstanceStatePut::default()
    };
    super::change(app, &root(), name, put).await?.outcome().await
}

#[tokio::test]
async fn the_life_of_an_instance() {
    let app = daemon().await;
    let created = super::create(&app, &root(), post("c1")).await.unwrap();
    created.outcome().await.unwrap();
    let shown = super::get(&app, &root(), "c1", None).await.unwrap();
    assert_eq!(
        (shown.value.status.as_str(), shown.value.r#type.as_str()),
        ("Stopped", "container")
    );
    assert_eq!(shown.value.config["volatile.apply_template"], "create");

    let (one, other) = tokio::join!(change(&app, "c1", "start"), change(&app, "c1", "start"));
    one.and(other).unwrap();
    let error = change(&app, "c1", "start").await.unwrap_err();
    assert_eq!(error.text(), "The instance is already running");
    let error = super::delete(&app, &root(), "c1").await.map(drop).unwrap_err();
    assert_eq!(error.text(), "Instance is running");
    let all = super::list_full(&app, &root(), Wanted::default()).await.unwrap();
    assert_eq!(all[0].state.as_ref().unwrap().pid, 1);

    change(&app, "c1", "freeze").await.unwrap();
    change(&app, "c1", "unfreeze").await.unwrap();
    change(&app, "c1", "restart").await.unwrap();
    change(&app, "c1", "stop").await.unwrap();
    assert_eq!(power(&app, "c1").await, "STOPPED");
    let deleted = super::delete(&app, &root(), "c1").await.unwrap();
    deleted.outcome().await.unwrap();
    assert_eq!(parts(&app, "c1").await, [false; 5]);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_references_words() {
    let app = daemon().await;
    let outcome = async |post: InstancesPost| match super::create(&app, &root(), post).await {
        Err(error) => format!("refused: {}", error.text()),
        Ok(operation) => operation
            .outcome()
            .await
            .map_or_else(|error| error.text(), |()| String::new()),
    };
    let with = |change: Change| {
        let mut post = post("c1");
        change(&mut post);
        post
    };
    let cases: [(Change, &str); 7] = [
        (
            |post| post.name = "-c".into(),
            "refused: Invalid instance name: Name must not start with \"-\" character",
        ),
        (
            |post| post.source.r#type = "x".into(),
            "refused: Unknown source type x",
        ),
        (
            |post| post.profiles = Some(vec!["x".into()]),
            "refused: Requested profile \"x\" doesn't exist",
        ),
        (
            |post| post.profiles = Some(Vec::new()),
            "Failed creating instance record: Failed initialising instance: Failed getting root disk: No root device could be found",
        ),
        (
            |post| drop(post.config.insert("bogus".into(), "1".into())),
            "Failed creating instance record: Unknown configuration key: bogus",
        ),
        (
            |post| post.profiles = Some(vec!["default".into(), "default".into()]),
            "Failed creating instance record: Duplicate profile found in request",
        ),
        (
            |post| post.architecture = "aarch64".into(),
            "Failed creating instance record: Requested architecture isn't supported by this host",
        ),
    ];
    for (change, text) in cases {
        assert_eq!(outcome(with(change)).await, text);
        assert_eq!(parts(&app, "c1").await, [false; 5]);
    }
}

#[tokio::test]
async fn instances_follow_their_profiles() {
    let app = daemon().await;
    make(&app, "c1").await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    let patch = json!({"config": {"limits.memory": "64MiB"}});
    crate::profiles::patch(&app, &root(), "default", patch, None)
        .await
        .unwrap();
    let shown = super::get(&app, &root(), "c1", None).await.unwrap().value;
    assert_eq!(shown.expanded_config["limits.memory"], "64MiB");
    let backup = app.paths.container("default", "c1").join("backup.yaml");
    assert!(
        std::fs::read_to_string(backup)
            .unwrap()
            .contains("limits.memory: 64MiB")
    );
    let put = ProfilePut::default();
    let error = crate::profiles::update(&app, &root(), "default", put, None)
        .await
        .unwrap_err();
    assert_eq!(
        error.text(),
        "At least one instance relies on this profile's root disk device"
    );
}

#[tokio::test]
async fn changes_need_the_state_that_the_caller_saw() {
    let app = daemon().await;
    make(&app, "c1").await;
    let shown = super::get(&app, &root(), "c1", None).await.unwrap();
    let mut put = InstancePut::from(&shown.value);
    put.description = "new".into();
    let changed = super::update(&app, &root(), "c1", put.clone(), Some(&shown.etag)).await;
    changed.unwrap().outcome().await.unwrap();
    let stale = super::update(&app, &root(), "c1", put, Some(&shown.etag)).await;
    let kind = stale.map(drop).unwrap_err().kind();
    assert_eq!(kind, lxd_model::ErrorKind::PreconditionFailed);
    let lost = InstancePut {
        profiles: vec!["default".into()],
        ..InstancePut::default()
    };
    let lost = super::update(&app, &root(), "c1", lost, None).await.unwrap();
    assert_eq!(
        lost.outcome().await.unwrap_err().text(),
        "Volatile idmap keys can't be deleted by the user"
    );
}
