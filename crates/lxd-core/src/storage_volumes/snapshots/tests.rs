//! Snapshots of custom volumes in a daemon without listeners, under every fault.

use lxd_api::storage_volumes::{StorageVolumePut, StorageVolumeSnapshotPost, StorageVolumeSnapshotsPost};

use super::super::tests::{DRIVERS, app_with_pool, post, read, write};
use super::*;
use crate::operations::testing;
use crate::testing::{TestApp, root};

const PATH: Path<'static> = ["p1", "custom", "v1"];

async fn take(app: &TestApp, name: &str) {
    let post = StorageVolumeSnapshotsPost {
        name: name.into(),
        ..StorageVolumeSnapshotsPost::default()
    };
    let taken = create(app, &root(), PATH, post).await.unwrap();
    taken.outcome().await.unwrap();
}

async fn names(app: &TestApp) -> Vec<String> {
    let all = list(app, &root(), PATH).await.unwrap();
    all.into_iter().map(|one| one.name).collect()
}

/// A volume with a file, `config` and pool of a kind.
async fn volume(driver: &str, config: &[(&str, &str)]) -> TestApp {
    let app = app_with_pool(driver).await;
    let mut post = post("v1");
    let config = config
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    post.config = config.collect();
    super::super::create(&app, &root(), "p1", post).await.unwrap();
    write(&app, "default_v1", "one");
    app
}

#[tokio::test]
async fn a_volume_goes_back_to_what_it_was() {
    for driver in DRIVERS {
        let app = volume(driver, &[]).await;
        let ctx = root();
        take(&app, "").await;
        write(&app, "default_v1", "two");
        take(&app, "s1").await;
        assert_eq!(names(&app).await, ["v1/snap0", "v1/s1"]);
        let put = |name: &str| StorageVolumePut {
            restore: name.into(),
            ..StorageVolumePut::default()
        };
        crate::storage_volumes::update(&app, &ctx, PATH, put("snap0"), None)
            .await
            .unwrap();
        assert_eq!(read(&app, "custom/default_v1"), "one");
        let missing = crate::storage_volumes::update(&app, &ctx, PATH, put("nope"), None).await;
        assert_eq!(missing.unwrap_err().text(), "Snapshot not found");
        let new = StorageVolumeSnapshotPost { name: "s2".into() };
        let renamed = rename(&app, &ctx, PATH, "s1", new).await.unwrap();
        renamed.outcome().await.unwrap();
        assert_eq!(read(&app, "custom-snapshots/default_v1/s2"), "two");
        delete(&app, &ctx, PATH, "snap0")
            .await
            .unwrap()
            .outcome()
            .await
            .unwrap();
        assert_eq!(names(&app).await, ["v1/s2"]);
        crate::storage_volumes::delete(&app, &ctx, PATH).await.unwrap();
        let left = app.paths.storage_pool("p1").join("custom-snapshots");
        assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn the_clock_takes_and_deletes() {
    let config = [
        ("snapshots.schedule", "* * * * *"),
        ("snapshots.pattern", "auto%d"),
        ("snapshots.expiry", "1d"),
    ];
    let app = volume("dir", &config).await;
    schedule::take_due(&app).await.unwrap();
    schedule::take_due(&app).await.unwrap();
    assert_eq!(names(&app).await, ["v1/auto0", "v1/auto1"]);
    schedule::prune(&app).await.unwrap();
    assert_eq!(names(&app).await.len(), 2);
    let past = StorageVolumeSnapshotPut {
        expires_at: Some(Time::from_unix(1)),
        ..StorageVolumeSnapshotPut::default()
    };
    update(&app, &root(), PATH, "auto0", past, None).await.unwrap();
    schedule::prune(&app).await.unwrap();
    assert_eq!(names(&app).await, ["v1/auto1"]);
}

#[tokio::test]
async fn works_are_whole_at_every_step() {
    for driver in DRIVERS {
        works_are_whole_on(driver).await;
    }
}

async fn works_are_whole_on(driver: &str) {
    let app = volume(driver, &[]).await;
    let (ctx, home) = (root(), Home::new("p1", "default", "v1"));
    let folder = app.paths.storage_pool("p1").join("custom-snapshots/default_v1");
    let on_disk = || {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| format!("v1/{}", entry.file_name().display()))
            .collect();
        names.sort();
        names
    };
    let has = async |wanted: &[&str]| {
        assert_eq!(names(&app).await, wanted);
        assert_eq!(on_disk(), wanted);
    };
    let saved = |name: &str| Saved {
        name: name.into(),
        description: String::new(),
        expires_at: Time::never(),
        config: Config::new(),
    };
    let make = || create::Create {
        home: home.clone(),
        new: saved("s0"),
        is_new: false,
    };
    let remove = async || {
        let gone = delete(&app, &ctx, PATH, "s0").await.unwrap();
        gone.outcome().await.unwrap();
    };
    testing::check_with(&app, &ctx, make, remove, async || has(&[]).await).await;

    take(&app, "s0").await;
    let mut tx = app.cluster.read().await.unwrap();
    let volume = home.row(&mut tx).await.unwrap();
    let id = rows::get(&mut tx, volume.id, "s0").await.unwrap().id;
    drop(tx);
    let make = || rename::Rename {
        home: home.clone(),
        id,
        old: "s0".into(),
        new: "s1".into(),
    };
    let back = async || {
        let post = StorageVolumeSnapshotPost { name: "s0".into() };
        let back = super::rename(&app, &ctx, PATH, "s1", post).await.unwrap();
        back.outcome().await.unwrap();
    };
    testing::check_with(&app, &ctx, make, back, async || has(&["v1/s0"]).await).await;

    write(&app, "default_v1", "two");
    let make = || restore::Restore::new(home.clone(), "s0");
    // Before or after: nothing in between.
    let is_whole = async || {
        has(&["v1/s0"]).await;
        let content = read(&app, "custom/default_v1");
        assert!(content == "one" || content == "two", "{content}");
    };
    testing::every_step_fails(&app, &ctx, &make, &is_whole).await;
    write(&app, "default_v1", "two");
    let again = async || write(&app, "default_v1", "two");
    testing::death_at_every_step(&app, &ctx, &make, &again, &is_whole).await;

    let make = || delete::Delete {
        home: home.clone(),
        old: saved("s0"),
    };
    let is_there_or_gone = async || assert_eq!(names(&app).await, on_disk());
    testing::death_at_every_step(&app, &ctx, &make, &async || (), &is_there_or_gone).await;
    has(&[]).await;
}
