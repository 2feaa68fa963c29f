//! Copies, refreshed copies and moves under every fault.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_api::instances::{InstancePost, InstancePut, InstanceSource, InstancesPost};
use lxd_api::storage_pools::StoragePoolsPost;
use lxd_instance::lifecycle::Phase;

use super::refresh::{Refresh, Source};
use super::relocate::Move;
use super::snapshots::{self, New, Root, Saved};
use super::tests::{daemon, key, make, record, under_faults};
use super::{delete, start};
use crate::app::App;
use crate::error::Result;
use crate::operations::{self, testing};
use crate::testing::{TestApp, root};

async fn take(app: &Arc<App>, instance: &str, name: &str) {
    let new = New {
        name: name.into(),
        expires_at: lxd_api::Time::never(),
        stateful: false,
    };
    snapshots::take_locked(app, &root(), &key(instance), new, None)
        .await
        .unwrap();
}

async fn saved(app: &App, project: &str, instance: &str) -> Vec<Saved> {
    let mut tx = app.cluster.read().await.unwrap();
    let record = super::record::Record::load(&mut tx, project, instance)
        .await
        .unwrap();
    Saved::all(&mut tx, record.row.id).await.unwrap()
}

async fn names(app: &App, instance: &str) -> Vec<String> {
    let all = saved(app, "default", instance).await;
    all.into_iter().map(|one| one.name).collect()
}

fn write(app: &App, instance: &str, text: &str) {
    std::fs::write(app.paths.container("default", instance).join("rootfs/f"), text).unwrap();
}

fn read(app: &App, instance: &str) -> String {
    std::fs::read_to_string(app.paths.container("default", instance).join("rootfs/f")).unwrap_or_default()
}

fn copy_of(source: &str, name: &str) -> InstancesPost {
    InstancesPost {
        name: name.into(),
        profiles: Some(vec!["default".into()]),
        source: InstanceSource {
            r#type: "copy".into(),
            source: source.into(),
            ..InstanceSource::default()
        },
        ..InstancesPost::default()
    }
}

async fn create(app: &Arc<App>, post: InstancesPost) -> Result<()> {
    super::create(app, &root(), post).await?.outcome().await
}

/// c1 with the snapshots s0 and s1, each with another content.
async fn source() -> TestApp {
    let app = daemon().await;
    make(&app, "c1").await;
    for name in ["s0", "s1"] {
        write(&app, "c1", name);
        take(&app, "c1", name).await;
    }
    write(&app, "c1", "now");
    app
}

fn leftovers(app: &App, pool: &str) -> usize {
    let staging = app.paths.storage_pool(pool).join(".lxd-staging");
    std::fs::read_dir(staging).map_or(0, Iterator::count)
}

#[tokio::test]
async fn copies_bring_their_snapshots() {
    let app = source().await;
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    create(&app, copy_of("c1", "c2")).await.unwrap();
    assert_eq!(app.instances.registry.phase(&key("c1")), Phase::Running);
    assert_eq!(
        (read(&app, "c2").as_str(), names(&app, "c2").await),
        ("now", vec!["s0".into(), "s1".into()])
    );
    let (old, new) = (
        saved(&app, "default", "c1").await,
        saved(&app, "default", "c2").await,
    );
    assert_eq!(old[0].created_at, new[0].created_at);
    assert_ne!(old[0].config["volatile.uuid"], new[0].config["volatile.uuid"]);
    create(&app, copy_of("c1/s0", "c3")).await.unwrap();
    assert_eq!(
        (read(&app, "c3").as_str(), names(&app, "c3").await.len()),
        ("s0", 0)
    );
    let mut only = copy_of("c1", "c4");
    only.source.instance_only = true;
    create(&app, only).await.unwrap();
    assert_eq!(names(&app, "c4").await.len(), 0);
    let missing = create(&app, copy_of("c1/none", "c5")).await.unwrap_err();
    assert_eq!(
        missing.text(),
        "Failed to fetch snapshot \"none\" of instance \"c1\" in project \"default\": InstanceSnapshot not found"
    );
    delete::run(&app, &root(), &key("c2"), None).await.unwrap();
    assert_eq!(names(&app, "c1").await.len(), 2);
}

#[tokio::test]
async fn a_refreshed_copy_is_the_source_again() {
    let app = source().await;
    create(&app, copy_of("c1", "c2")).await.unwrap();
    snapshots::remove(&app, &root(), &key("c1"), "s0", None)
        .await
        .unwrap();
    snapshots::remove(&app, &root(), &key("c1"), "s1", None)
        .await
        .unwrap();
    write(&app, "c1", "newer");
    for name in ["s1", "s2"] {
        take(&app, "c1", name).await;
    }
    let mut post = copy_of("c1", "c2");
    post.source.refresh = true;
    create(&app, post.clone()).await.unwrap();
    assert_eq!(
        (read(&app, "c2").as_str(), names(&app, "c2").await),
        ("newer", vec!["s1".into(), "s2".into()])
    );
    let file = app
        .paths
        .storage_pool("p1")
        .join("containers-snapshots/c2/s1/rootfs/f");
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "newer",
        "another snapshot of the same name"
    );
    start::run(&app, &root(), &key("c2"), None).await.unwrap();
    let text = create(&app, post).await.unwrap_err().text();
    assert_eq!(
        text,
        "Failed getting exclusive access to instance: Instance is running"
    );
}

#[tokio::test]
async fn a_refresh_is_whole_or_undone_or_finished() {
    let app = source().await;
    create(&app, copy_of("c1", "c2")).await.unwrap();
    let before = async || {
        if names(&app, "c2").await != ["s0", "s1"] {
            delete::run(&app, &root(), &key("c2"), None).await.unwrap();
            for name in names(&app, "c1").await {
                snapshots::remove(&app, &root(), &key("c1"), &name, None)
                    .await
                    .unwrap();
            }
            write(&app, "c1", "old");
            take(&app, "c1", "s0").await;
            take(&app, "c1", "s1").await;
            create(&app, copy_of("c1", "c2")).await.unwrap();
        }
        write(&app, "c2", "old");
        write(&app, "c1", "new");
        if names(&app, "c1").await == ["s0", "s1"] {
            snapshots::remove(&app, &root(), &key("c1"), "s0", None)
                .await
                .unwrap();
            snapshots::remove(&app, &root(), &key("c1"), "s1", None)
                .await
                .unwrap();
            take(&app, "c1", "s1").await;
            take(&app, "c1", "s2").await;
        }
    };
    let work = async || {
        let (from, to) = (
            record(&app, "c1").await.unwrap(),
            record(&app, "c2").await.unwrap(),
        );
        let source = Source {
            root: Root::of(&from),
            snapshot: None,
            snapshots: Some(saved(&app, "default", "c1").await),
        };
        Refresh::new(&app, source, (&to, saved(&app, "default", "c2").await))
    };
    let after = async |crashed: bool| {
        let shown = (read(&app, "c2"), names(&app, "c2").await.join(" "));
        let is_new = shown == ("new".into(), "s1 s2".into());
        let is_old = shown == ("old".into(), "s0 s1".into());
        // What fails after the old files are gone leaves a copy with a snapshot too many, which the next refresh removes.
        let is_nearly = shown.0 == "new" && shown.1.contains("s1 s2");
        assert!(is_new || is_nearly || (is_old && !crashed), "{shown:?}");
        assert!(is_new || !crashed, "{shown:?}");
        app.pools.get("p1").unwrap().settle().await.unwrap();
        assert_eq!(leftovers(&app, "p1"), 0);
    };
    under_faults(&app, before, work, after).await;
}

async fn second_pool(app: &TestApp) {
    let post = StoragePoolsPost {
        name: "p2".into(),
        driver: "dir".into(),
        ..StoragePoolsPost::default()
    };
    crate::storage_pools::create(app, &root(), post).await.unwrap();
}

fn to(project: &str, name: &str, pool: &str) -> InstancePost {
    InstancePost {
        name: name.into(),
        pool: pool.into(),
        project: project.into(),
        migration: true,
        ..InstancePost::default()
    }
}

#[tokio::test]
async fn snapshots_of_a_copy_in_another_pool_restore_there() {
    let app = source().await;
    second_pool(&app).await;
    create(&app, copy_of("c1", "c2")).await.unwrap();
    let now = record(&app, "c2").await.unwrap();
    let work = Move::of(&app, &now, to("default", "c2", "p2")).await.unwrap();
    operations::run(&app, &root(), work).await.unwrap();
    take(&app, "c1", "s2").await;
    write(&app, "c1", "late");
    let mut post = copy_of("c1", "c2");
    post.source.refresh = true;
    create(&app, post).await.unwrap();
    for snapshot in saved(&app, "default", "c2").await {
        assert_eq!(snapshot.devices["root"]["pool"], "p2", "{}", snapshot.name);
    }
    let put = InstancePut {
        restore: "s2".into(),
        ..InstancePut::default()
    };
    let restored = super::update(&app, &root(), "c2", put, None).await.unwrap();
    restored.outcome().await.unwrap();
    assert_eq!(read(&app, "c2"), "now");
    assert_eq!(record(&app, "c2").await.unwrap().pool(), "p2");
}

/// Where the files of an instance and of its first snapshot are.
fn places(app: &App, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pool in ["p1", "p2"] {
        for place in [
            format!("containers/{name}"),
            format!("containers-snapshots/{name}/s0"),
        ] {
            if app.paths.storage_pool(pool).join(&place).exists() {
                found.push(format!("{pool}/{place}"));
            }
        }
    }
    found
}

#[tokio::test]
async fn a_move_is_whole_or_undone_or_finished() {
    let app = source().await;
    second_pool(&app).await;
    let before = async || {
        let now = record(&app, "c1").await.unwrap();
        if now.pool() == "p2" {
            let work = Move::of(&app, &now, to("default", "c1", "p1")).await.unwrap();
            operations::run(&app, &root(), work).await.unwrap();
        }
        app.pools.get("p2").unwrap().settle().await.unwrap();
    };
    let work = async || {
        let now = record(&app, "c1").await.unwrap();
        Move::of(&app, &now, to("default", "c1", "p2")).await.unwrap()
    };
    let after = async |crashed: bool| {
        let now = record(&app, "c1").await.unwrap();
        let pool = now.pool().to_owned();
        assert!(pool == "p2" || !crashed, "{pool}");
        let wanted = ["containers/c1", "containers-snapshots/c1/s0"].map(|place| format!("{pool}/{place}"));
        assert_eq!(places(&app, "c1"), wanted);
        assert_eq!(read(&app, "c1"), "now");
        let snapshots = saved(&app, "default", "c1").await;
        let its_pool = snapshots[0]
            .devices
            .get("root")
            .map_or("p1", |root| root["pool"].as_str());
        assert_eq!((snapshots.len(), its_pool), (2, pool.as_str()));
        let full = super::get_full(&app, &root(), "c1", None).await.unwrap().value;
        assert_eq!(full.snapshots.unwrap().len(), 2);
    };
    under_faults(&app, before, work, after).await;
}

#[tokio::test]
async fn names_and_projects_change_without_a_copy() {
    let app = source().await;
    let project = lxd_api::projects::ProjectsPost {
        name: "pp".into(),
        config: BTreeMap::from([("features.profiles".to_owned(), "false".to_owned())]),
        ..lxd_api::projects::ProjectsPost::default()
    };
    crate::projects::create(&app, &root(), project).await.unwrap();
    let inode = |path: std::path::PathBuf| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).unwrap().ino()
    };
    let old = inode(app.paths.container("default", "c1").join("rootfs/f"));
    let moved = super::rename(&app, &root(), "c1", to("pp", "c2", ""))
        .await
        .unwrap();
    moved.outcome().await.unwrap();
    assert!(record(&app, "c1").await.is_err());
    assert_eq!(inode(app.paths.container("pp", "c2").join("rootfs/f")), old);
    assert_eq!(saved(&app, "pp", "c2").await.len(), 2);
    let url = app.paths.root().join("snapshots/pp_c2/s0/rootfs/f");
    assert_eq!(std::fs::read_to_string(url).unwrap(), "s0");
    let nowhere = super::rename(&app, &root().in_project("pp"), "c2", to("", "", "none")).await;
    let text = nowhere.unwrap().outcome().await.unwrap_err().text();
    assert_eq!(
        text,
        "Failed creating instance record: Failed initialising instance: Failed loading storage pool: Storage pool not found"
    );
}

#[tokio::test]
async fn a_copy_with_snapshots_is_whole_or_not_there() {
    let app = source().await;
    second_pool(&app).await;
    let from = Root::of(&record(&app, "c1").await.unwrap());
    let all = saved(&app, "default", "c1").await;
    let disk = [("type", "disk"), ("path", "/"), ("pool", "p2")];
    let disk: BTreeMap<String, String> = disk.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let devices = BTreeMap::from([("root".to_owned(), disk)]);
    let work = || {
        let files = super::source::Files::Instance {
            root: from.clone(),
            snapshot: None,
        };
        let mut create = super::tests::work("c2", files);
        create.pool = "p2".into();
        create.devices = devices.clone();
        super::copy::Copy::new(&app, create, (all.clone(), &devices))
    };
    let is_clean = async || {
        assert!(record(&app, "c2").await.is_err());
        assert_eq!(places(&app, "c2"), Vec::<String>::new());
    };
    let remove = async || {
        assert_eq!(
            places(&app, "c2"),
            ["p2/containers/c2", "p2/containers-snapshots/c2/s0"]
        );
        assert_eq!(
            saved(&app, "default", "c2").await[0].devices["root"]["pool"],
            "p2"
        );
        delete::run(&app, &root(), &key("c2"), None).await.unwrap();
    };
    testing::check_with(&app, &root(), work, remove, is_clean).await;
}
