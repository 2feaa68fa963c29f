//! Shifts of ids under every fault: what is on disk is always what the database says.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::PathBuf;

use lxd_db::cluster::instances as rows;
use lxd_model::idmap::{IdMap, Range};

use super::shift::{Change, ON_DISK, Shift, map};
use super::start::Start;
use super::tests::{daemon, key, make, record, under_faults};
use super::{start, stop};
use crate::app::App;
use crate::testing::{TestApp, root};

fn rootfs(app: &App) -> PathBuf {
    app.paths.storage_pool("p1").join("containers/c1/rootfs")
}

/// A map other than that of any instance.
fn other() -> IdMap {
    IdMap::of_range(Range {
        base: 3_000_000,
        size: 65_536,
    })
}

/// Owner and mode of the files inside, as seen with the ids that the database says are on disk.
async fn seen(app: &App) -> Vec<(u32, u32, u32)> {
    let own = record(app, "c1").await.unwrap().row.config;
    let ids = map(&own, ON_DISK).unwrap();
    let inside = |id: u32, is_uid: bool| {
        let entry = ids.0.iter().find(|entry| entry.is_uid == is_uid);
        entry.map_or(id, |entry| id - u32::try_from(entry.host_id).unwrap())
    };
    ["", "a", "su", "d/b"]
        .map(|name| {
            let stat = std::fs::symlink_metadata(rootfs(app).join(name)).unwrap();
            (
                inside(stat.uid(), true),
                inside(stat.gid(), false),
                stat.mode() & 0o7777,
            )
        })
        .to_vec()
}

/// A start whose instance has files with ids of another map.
async fn shifting(app: &TestApp) -> Start {
    let own = record(app, "c1").await.unwrap();
    let maps = (
        map(&own.config, ON_DISK).unwrap(),
        map(&own.config, "volatile.idmap.next").unwrap(),
    );
    let pool = app.pools.get("p1").unwrap();
    let change = Change::new(&pool, ("default", "c1", false), maps).await.unwrap();
    Start::of(&key("c1"), own.row.config.clone()).with(Shift::of(&key("c1"), own.row.id, change))
}

#[tokio::test]
async fn a_start_leaves_files_as_they_were_or_as_they_are_to_be() {
    let app = daemon().await;
    make(&app, "c1").await;
    let root_directory = rootfs(&app);
    for name in ["a", "su", "d/b"] {
        std::fs::create_dir_all(root_directory.join("d")).unwrap();
        std::fs::write(root_directory.join(name), name).unwrap();
        lchown(root_directory.join(name), Some(5), Some(6)).unwrap();
    }
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(root_directory.join("su"), mode).unwrap();
    let before = seen(&app).await;
    assert_eq!(before[2], (5, 6, 0o4755));
    let stop = async || {
        let force = stop::how(true, 0);
        let _ = stop::run(&app, &root(), &key("c1"), force, None).await;
    };
    // Each time the files go from one map to another.
    let turn = async || {
        stop().await;
        let own = record(&app, "c1").await.unwrap().row;
        let next = match map(&own.config, ON_DISK).unwrap() == other() {
            true => IdMap::default(),
            false => other(),
        };
        let mut tx = app.cluster.begin().await.unwrap();
        let change = [("volatile.idmap.next".to_owned(), next.to_json())].into();
        rows::change_config(&mut tx, own.id, &change).await.unwrap();
        tx.commit().await.unwrap();
    };
    under_faults(
        &app,
        turn,
        async || shifting(&app).await,
        async |_| {
            assert_eq!(seen(&app).await, before);
        },
    )
    .await;
    turn().await;
    crate::operations::run(&app, &root(), shifting(&app).await)
        .await
        .unwrap();
    assert_eq!(seen(&app).await, before);
    stop().await;
    // What is right already needs no change.
    let own = record(&app, "c1").await.unwrap();
    assert_eq!(own.config[ON_DISK], own.config["volatile.idmap.next"]);
    assert!(super::shift::plan(&app, &own).await.unwrap().is_none());
    start::run(&app, &root(), &key("c1"), None).await.unwrap();
    assert_eq!(seen(&app).await, before);
}
