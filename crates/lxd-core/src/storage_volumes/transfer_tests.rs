//! Copies and moves of custom volumes in a daemon without listeners, under every fault.

use lxd_api::profiles::ProfilesPost;
use lxd_api::storage_pools::StoragePoolsPost;
use lxd_api::storage_volumes::{StorageVolumePost, StorageVolumeSnapshotsPost, StorageVolumesPost};

use super::home::Home;
use super::tests::{DRIVERS, app_with_pool, post, read, write};
use super::*;
use crate::operations::testing;
use crate::testing::{TestApp, root};

/// A volume `v1` with a file and a snapshot, and a second pool.
async fn start(driver: &str) -> TestApp {
    let app = app_with_pool(driver).await;
    let second = StoragePoolsPost {
        name: "p2".into(),
        driver: "dir".into(),
        ..StoragePoolsPost::default()
    };
    crate::storage_pools::create(&app, &root(), second).await.unwrap();
    create(&app, &root(), "p1", post("v1")).await.unwrap();
    write(&app, "default_v1", "one");
    snapshot(&app, "s0").await;
    write(&app, "default_v1", "two");
    app
}

async fn snapshot(app: &TestApp, name: &str) {
    let post = StorageVolumeSnapshotsPost {
        name: name.into(),
        ..StorageVolumeSnapshotsPost::default()
    };
    let path = ["p1", "custom", "v1"];
    let taken = snapshots::create(app, &root(), path, post).await.unwrap();
    taken.outcome().await.unwrap();
}

fn copy_of(source: &str, name: &str) -> StorageVolumesPost {
    let mut post = post(name);
    post.source.r#type = "copy".into();
    post.source.pool = "p1".into();
    post.source.name = source.into();
    post
}

async fn run(app: &TestApp, pool: &str, post: StorageVolumesPost) -> Result<()> {
    let operation = create(app, &root(), pool, post).await?;
    operation.expect("copies are operations").outcome().await
}

async fn snapshots_of(app: &TestApp, pool: &str, name: &str) -> Vec<String> {
    let all = snapshots::list(app, &root(), [pool, "custom", name])
        .await
        .unwrap();
    all.into_iter().map(|one| one.name).collect()
}

#[tokio::test]
async fn copies_have_the_content_and_follow_it() {
    for driver in DRIVERS {
        let app = start(driver).await;
        run(&app, "p2", copy_of("v1", "c1")).await.unwrap();
        assert_eq!(read_in(&app, "p2", "custom/default_c1"), "two");
        assert_eq!(read_in(&app, "p2", "custom-snapshots/default_c1/s0"), "one");
        run(&app, "p1", copy_of("v1/s0", "c2")).await.unwrap();
        assert_eq!(read(&app, "custom/default_c2"), "one");
        assert!(snapshots_of(&app, "p1", "c2").await.is_empty());

        write(&app, "default_v1", "three");
        snapshot(&app, "s1").await;
        let gone = snapshots::delete(&app, &root(), ["p1", "custom", "v1"], "s0")
            .await
            .unwrap();
        gone.outcome().await.unwrap();
        let taken = run(&app, "p2", copy_of("v1", "c1")).await.unwrap_err();
        assert_eq!(taken.text(), "Volume by that name already exists");
        let mut again = copy_of("v1", "c1");
        again.source.refresh = true;
        run(&app, "p2", again).await.unwrap();
        assert_eq!(read_in(&app, "p2", "custom/default_c1"), "three");
        assert_eq!(snapshots_of(&app, "p2", "c1").await, ["c1/s1"]);
        let missing = run(&app, "p2", copy_of("nope", "c9")).await.unwrap_err();
        assert!(
            missing
                .text()
                .ends_with("on pool \"p1\": Storage volume not found")
        );
    }
}

fn read_in(app: &TestApp, pool: &str, place: &str) -> String {
    std::fs::read_to_string(app.paths.storage_pool(pool).join(place).join("f")).unwrap()
}

/// The devices of the profile that uses the volume: pool and source.
async fn user(app: &TestApp) -> (String, String) {
    let shown = crate::profiles::get(app, &root(), "user").await.unwrap().value;
    let disk = &shown.devices["d"];
    (disk["pool"].clone(), disk["source"].clone())
}

async fn add_user(app: &TestApp) {
    let disk = [("type", "disk"), ("pool", "p1"), ("source", "v1"), ("path", "/x")];
    let disk = disk.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let post = ProfilesPost {
        name: "user".into(),
        devices: [("d".to_owned(), disk.into())].into(),
        ..ProfilesPost::default()
    };
    crate::profiles::create(app, &root(), post).await.unwrap();
}

async fn move_to(app: &TestApp, from: [&str; 2], to: [&str; 2]) {
    let post = StorageVolumePost {
        pool: to[0].into(),
        name: to[1].into(),
        ..StorageVolumePost::default()
    };
    let moved = rename(app, &root(), [from[0], "custom", from[1]], post)
        .await
        .unwrap();
    if let Moved::Moving(operation) = moved {
        operation.outcome().await.unwrap();
    }
}

#[tokio::test]
async fn works_are_whole_at_every_step() {
    for driver in DRIVERS {
        works_are_whole_on(driver).await;
    }
}

async fn works_are_whole_on(driver: &str) {
    let app = start(driver).await;
    add_user(&app).await;
    let ctx = root();
    let count = |place: &str| {
        let files = |pool: &str| {
            std::fs::read_dir(app.paths.storage_pool(pool).join(place))
                .unwrap()
                .count()
        };
        files("p1") + files("p2")
    };
    let is_as_before = async || {
        let all: Vec<String> = list(&app, &ctx, "p2", None, true)
            .await
            .unwrap()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(all, Vec::<String>::new());
        assert_eq!((count("custom"), count("custom-snapshots")), (1, 1));
        assert_eq!(read(&app, "custom/default_v1"), "two");
        assert_eq!(user(&app).await, ("p1".into(), "v1".into()));
    };
    let mut tx = app.cluster.read().await.unwrap();
    let row = Home::new("p1", "default", "v1").row(&mut tx).await.unwrap();
    let kept = snapshots::Saved::all(&mut tx, row.id).await.unwrap();
    drop(tx);
    let source = copy::Source {
        volume: row.clone(),
        snapshot: None,
        snapshots: kept,
    };
    let to = Home::new("p2", "default", "c1");
    let make = || copy::Copy::new(&source, to.clone(), &StorageVolumesPost::default());
    let remove = async || delete(&app, &ctx, ["p2", "custom", "c1"]).await.unwrap();
    testing::check_with(&app, &ctx, make, remove, is_as_before).await;

    let renamed = Home::new("p1", "default", "v2");
    let make = || relocate::Rename {
        id: row.id,
        from: Home::of(&row),
        to: renamed.clone(),
    };
    let back = async || {
        assert_eq!(user(&app).await, ("p1".into(), "v2".into()));
        move_to(&app, ["p1", "v2"], ["p1", "v1"]).await;
    };
    testing::check_with(&app, &ctx, make, back, is_as_before).await;

    let moved = relocate::plan(&app, row.clone(), to).await.unwrap();
    let make = || moved.clone();
    testing::every_undo_repeats(&app, &ctx, &make, &is_as_before).await;
}

#[tokio::test]
async fn a_move_is_whole_at_every_step() {
    for driver in DRIVERS {
        a_move_is_whole_on(driver).await;
    }
}

async fn a_move_is_whole_on(driver: &str) {
    let app = start(driver).await;
    add_user(&app).await;
    let ctx = root();
    let to = Home::new("p2", "default", "c1");
    let is_somewhere = async || {
        let (pool, name) = user(&app).await;
        let all: Vec<(String, String)> = [("p1", "v1"), ("p2", "c1")]
            .map(|(pool, name)| (pool.to_owned(), name.to_owned()))
            .into();
        let mut found = Vec::new();
        for (pool, name) in &all {
            if get(&app, &ctx, [pool, "custom", name]).await.is_ok() {
                found.push((pool.clone(), name.clone()));
                assert_eq!(read_in(&app, pool, &format!("custom/default_{name}")), "two");
                let kept = format!("custom-snapshots/default_{name}/s0");
                assert_eq!(read_in(&app, pool, &kept), "one");
            }
        }
        assert_eq!(found, [(pool, name)]);
    };
    for (step, when) in [
        ("check", "before"),
        ("rows", "after"),
        ("volumes", "after"),
        ("users", "after"),
        ("settle", "before"),
        ("settle", "after"),
    ] {
        for is_death in [false, true] {
            if get(&app, &ctx, ["p1", "custom", "v1"]).await.is_err() {
                move_to(&app, ["p2", "c1"], ["p1", "v1"]).await;
            }
            let mut tx = app.cluster.read().await.unwrap();
            let row = Home::new("p1", "default", "v1").row(&mut tx).await.unwrap();
            drop(tx);
            let work = relocate::plan(&app, row, to.clone()).await.unwrap();
            app.faults.set(move |_, name, at| {
                let is_it = name == step && format!("{at:?}").eq_ignore_ascii_case(when);
                match (is_it, is_death) {
                    (false, _) => crate::operations::Verdict::Go,
                    (true, true) => crate::operations::Verdict::Crash,
                    (true, false) => crate::operations::Verdict::Fail(Error::internal("on purpose")),
                }
            });
            assert!(crate::operations::run(&app, &ctx, work).await.is_err(), "{step}");
            app.faults.clear();
            crate::operations::recover(&app).await.unwrap();
            is_somewhere().await;
        }
    }
}
