//! Works on backups under every fault.

use std::path::PathBuf;
use std::sync::Arc;

use lxd_api::Time;
use lxd_db::cluster::instances::backups as rows;
use lxd_instance::Key;

use super::index::Index;
use super::make::Make;
use super::{Delete, Rename, expiry, import};
use crate::app::App;
use crate::instances::delete;
use crate::instances::tests::{daemon, make, parts, record, under_faults};
use crate::operations::{self, testing};
use crate::testing::root;

pub(super) fn backup(name: &str) -> Make {
    Make {
        project: "default".into(),
        instance: "c1".into(),
        name: name.into(),
        created_at: Time::from_unix(1_700_000_000),
        expires_at: Time::never(),
        instance_only: false,
        algorithm: "zstd".into(),
        is_optimized: false,
    }
}

pub(super) fn end(name: &str) -> Delete {
    Delete {
        project: "default".into(),
        instance: "c1".into(),
        name: name.into(),
    }
}

pub(super) fn file(app: &App, name: &str) -> PathBuf {
    app.paths.instance_backups("default", "c1").join(name)
}

/// Whether a backup has its row, and its file; that nothing else lies there.
async fn state(app: &App, name: &str) -> (bool, bool) {
    let id = record(app, "c1").await.unwrap().row.id;
    let mut tx = app.cluster.read().await.unwrap();
    let has_row = rows::get(&mut tx, id, name).await.is_ok();
    let folder = app.paths.instance_backups("default", "c1");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = entry.file_name().into_string().unwrap();
        assert!(!found.starts_with(".lxd-"), "{found}");
    }
    (has_row, file(app, name).is_file())
}

#[tokio::test]
async fn a_backup_is_made_whole_or_not_at_all() {
    let app = daemon().await;
    make(&app, "c1").await;
    let is_clean = async || assert_eq!(state(&app, "b1").await, (false, false));
    let remove = async || {
        assert_eq!(state(&app, "b1").await, (true, true));
        operations::run(&app, &root(), end("b1")).await.unwrap();
    };
    testing::check_with(&app, &root(), || backup("b1"), remove, is_clean).await;
}

#[tokio::test]
async fn a_backup_is_renamed_whole_or_not_at_all() {
    let app = daemon().await;
    make(&app, "c1").await;
    operations::run(&app, &root(), backup("b1")).await.unwrap();
    let rename = |old: &str, new: &str| Rename {
        project: "default".into(),
        instance: "c1".into(),
        old: old.into(),
        new: new.into(),
    };
    let is_clean = async || {
        assert_eq!(state(&app, "b1").await, (true, true));
        assert_eq!(state(&app, "b2").await, (false, false));
    };
    let remove = async || drop(operations::run(&app, &root(), rename("b2", "b1")).await.unwrap());
    testing::check_with(&app, &root(), || rename("b1", "b2"), remove, is_clean).await;
}

#[tokio::test]
async fn the_end_of_a_backup_is_finished() {
    let app = daemon().await;
    make(&app, "c1").await;
    let before = async || {
        if state(&app, "b1").await == (false, false) {
            operations::run(&app, &root(), backup("b1")).await.unwrap();
        }
    };
    let after = async |crashed: bool| {
        if crashed {
            assert_eq!(state(&app, "b1").await, (false, false));
        } else if state(&app, "b1").await != (false, false) {
            // What failed half can be asked for again.
            operations::run(&app, &root(), end("b1")).await.unwrap();
            assert_eq!(state(&app, "b1").await, (false, false));
        }
    };
    under_faults(&app, before, async || end("b1"), after).await;
}

#[tokio::test]
async fn what_has_expired_is_removed() {
    let app = daemon().await;
    make(&app, "c1").await;
    let mut old = backup("old");
    old.expires_at = Time::from_unix(1_700_000_001);
    operations::run(&app, &root(), old).await.unwrap();
    operations::run(&app, &root(), backup("new")).await.unwrap();
    expiry::prune(&app).await.unwrap();
    assert_eq!(state(&app, "old").await, (false, false));
    assert_eq!(state(&app, "new").await, (true, true));
    delete::run(&app, &root(), &Key::new("default", "c1"), None)
        .await
        .unwrap();
    assert!(!file(&app, "new").exists());
}

async fn archive(app: &Arc<App>) -> (Index, PathBuf) {
    operations::run(app, &root(), backup("b1")).await.unwrap();
    let path = file(app, "b1");
    (Index::read(path.clone()).await.unwrap(), path)
}

#[tokio::test]
async fn an_instance_comes_from_a_backup_whole_or_not_at_all() {
    let app = daemon().await;
    make(&app, "c1").await;
    let (index, path) = archive(&app).await;
    let mut tx = app.cluster.read().await.unwrap();
    let names = ("c2".to_owned(), "p1".to_owned());
    let work = import::plan(&app, &mut tx, &root(), (index, path), names)
        .await
        .unwrap();
    drop(tx);
    assert_eq!(work.wire.config["volatile.last_state.idmap"], "[]");
    let is_clean = async || {
        assert_eq!(parts(&app, "c1").await, [true; 5]);
        assert_eq!(parts(&app, "c2").await, [false; 5]);
    };
    let remove = async || {
        assert_eq!(parts(&app, "c2").await, [true; 5]);
        delete::run(&app, &root(), &Key::new("default", "c2"), None)
            .await
            .unwrap();
    };
    testing::check_with(&app, &root(), || work.clone(), remove, is_clean).await;
    // Whoever has the name is left alone.
    let mut taken = work.clone();
    taken.name = "c1".into();
    operations::run(&app, &root(), taken).await.map(drop).unwrap_err();
    assert_eq!(parts(&app, "c1").await, [true; 5]);
    assert_eq!(
        record(&app, "c2").await.map(drop).unwrap_err().text(),
        "Instance not found"
    );
}
