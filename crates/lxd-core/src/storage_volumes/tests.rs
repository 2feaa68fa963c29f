//! Volumes in a daemon without listeners.

use lxd_api::storage_pools::StoragePoolsPost;
use lxd_api::storage_volumes::{StorageVolumePost, StorageVolumesPost};
use lxd_db::cluster::ContentType;
use serde_json::json;

use super::*;
use crate::operations::testing;
use crate::storage_pools;
use crate::testing::{TestApp, restricted, root};

/// The drivers whose pools are real.
pub(super) const DRIVERS: [&str; 3] = ["btrfs", "dir", "overlay"];

pub(super) async fn app_with_pool(driver: &str) -> TestApp {
    let app = TestApp::start().await;
    let mut post = StoragePoolsPost {
        name: "p1".into(),
        driver: driver.into(),
        ..StoragePoolsPost::default()
    };
    if driver == "btrfs" {
        post.config.insert("size".into(), "256MiB".into());
    }
    storage_pools::create(&app, &root(), post).await.unwrap();
    app
}

pub(super) fn post(name: &str) -> StorageVolumesPost {
    StorageVolumesPost {
        name: name.into(),
        r#type: "custom".into(),
        ..StorageVolumesPost::default()
    }
}

/// Writes the file of a volume of the pool.
pub(super) fn write(app: &TestApp, volume: &str, content: &str) {
    let place = app.paths.storage_pool("p1").join("custom").join(volume);
    std::fs::write(place.join("f"), content).unwrap();
}

/// Reads the file of a volume or snapshot of the pool.
pub(super) fn read(app: &TestApp, place: &str) -> String {
    std::fs::read_to_string(app.paths.storage_pool("p1").join(place).join("f")).unwrap()
}

fn named(name: &str) -> StorageVolumePost {
    StorageVolumePost {
        name: name.into(),
        ..StorageVolumePost::default()
    }
}

/// A container's volume, as instances record it.
async fn add_row(app: &TestApp, project: &str, kind: VolumeType, name: &str) {
    let key = rows::Key {
        pool: "p1",
        project,
        kind,
        name,
    };
    let content = rows::Content {
        content_type: ContentType::Filesystem,
        description: String::new(),
        config: Default::default(),
    };
    let mut tx = app.cluster.begin().await.unwrap();
    rows::create(&mut tx, key, Some(app.cluster.node_id()), &content)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_custom_volume_is_made_changed_renamed_and_deleted() {
    for driver in DRIVERS {
        let app = app_with_pool(driver).await;
        let ctx = root();
        let made = StorageVolumesPost {
            description: "d".into(),
            config: [("user.x".to_owned(), "1".to_owned())].into(),
            ..post("v1")
        };
        create(&app, &ctx, "p1", made).await.unwrap();
        let custom = app.paths.storage_pool("p1").join("custom");
        assert!(custom.join("default_v1").is_dir());
        assert_eq!(std::fs::read_dir(custom.join("default_v1")).unwrap().count(), 0);
        let path = ["p1", "custom", "v1"];
        let shown = get(&app, &ctx, path).await.unwrap();
        let volume = &shown.value;
        assert_eq!(
            (
                volume.description.as_str(),
                volume.location.as_str(),
                volume.content_type.as_str()
            ),
            ("d", "none", "filesystem")
        );
        // Where nothing counts without a limit there is no answer.
        assert_eq!(state(&app, &ctx, path).await.is_ok(), driver == "overlay");
        let stale = patch(&app, &ctx, path, json!({}), Some("0")).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
        patch(
            &app,
            &ctx,
            path,
            json!({"config": {"user.y": "2"}}),
            Some(&shown.etag),
        )
        .await
        .unwrap();
        let error = patch(&app, &ctx, path, json!({"config": {"foo": "2"}}), None)
            .await
            .unwrap_err();
        assert_eq!(
            error.text(),
            "Invalid option for volume \"default_v1\" option \"foo\""
        );
        let shown = get(&app, &ctx, path).await.unwrap().value;
        assert_eq!(shown.config.len(), 2);
        create(&app, &ctx, "p1", post("v2")).await.unwrap();
        let taken = rename(&app, &ctx, path, named("v2")).await.err().unwrap();
        assert_eq!(taken.text(), "Volume by that name already exists");
        let Ok(Moved::Renamed(renamed)) = rename(&app, &ctx, path, named("v 3")).await else {
            panic!("not renamed");
        };
        assert_eq!(renamed, "/1.0/storage-pools/p1/volumes/custom/v%203");
        let listed = list(&app, &ctx, "p1", None, false).await.unwrap();
        assert_eq!(
            listed
                .iter()
                .map(|volume| volume.name.as_str())
                .collect::<Vec<_>>(),
            ["v 3", "v2"]
        );
        for name in ["v 3", "v2"] {
            delete(&app, &ctx, ["p1", "custom", name]).await.unwrap();
        }
        assert_eq!(std::fs::read_dir(custom).unwrap().count(), 0);
        assert!(list(&app, &ctx, "p1", None, true).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let app = app_with_pool("dir").await;
    let ctx = root();
    let with = |change: fn(&mut StorageVolumesPost)| {
        let mut post = post("v1");
        change(&mut post);
        post
    };
    for (post, text) in [
        (post(""), "No name provided"),
        (post("a/b"), "Storage volume names may not contain slashes"),
        (
            with(|post| post.r#type.clear()),
            "You must provide a storage volume type of the storage volume",
        ),
        (
            with(|post| post.r#type = "container".into()),
            "Currently not allowed to create storage volumes of type \"container\"",
        ),
        (
            with(|post| post.content_type = "x".into()),
            "Invalid volume content type name",
        ),
        (
            with(|post| post.source.r#type = "x".into()),
            "Unknown source type \"x\"",
        ),
        (
            with(|post| drop(post.config.insert("foo".into(), "x".into()))),
            "Invalid option for volume \"default_v1\" option \"foo\"",
        ),
    ] {
        assert_eq!(create(&app, &ctx, "p1", post).await.err().unwrap().text(), text);
        assert!(list(&app, &ctx, "p1", None, true).await.unwrap().is_empty());
    }
    let error = create(&app, &ctx, "nosuch", post("v1")).await.err().unwrap();
    assert_eq!(
        (error.kind(), error.text().as_str()),
        (ErrorKind::NotFound, "Storage pool not found")
    );
    let error = list(&app, &ctx, "p1", Some("foo"), false).await.unwrap_err();
    assert_eq!(error.text(), "Invalid storage volume type name");
    let error = get(&app, &ctx, ["p1", "custom", "v1"]).await.unwrap_err();
    assert_eq!(error.text(), "Storage pool volume not found");
    create(&app, &ctx, "p1", post("v1")).await.unwrap();
    let taken = create(&app, &ctx, "p1", post("v1")).await.err().unwrap();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn volumes_of_instances_are_shown_and_described_and_nothing_else() {
    let app = app_with_pool("dir").await;
    let ctx = root();
    add_row(&app, "default", VolumeType::Container, "c1").await;
    add_row(&app, "default", VolumeType::Image, "abc").await;
    let path = ["p1", "container", "c1"];
    let shown = get(&app, &ctx, path).await.unwrap().value;
    assert_eq!(shown.used_by, ["/1.0/instances/c1"]);
    let put = |key: &str| StorageVolumePut {
        config: [(key.to_owned(), "1GB".to_owned())].into(),
        description: "x".into(),
        ..StorageVolumePut::default()
    };
    update(&app, &ctx, path, put("user.a"), None).await.unwrap();
    for (result, text) in [
        (
            update(&app, &ctx, path, put("foo"), None).await,
            "Invalid option for volume \"c1\" option \"foo\"",
        ),
        (
            update(&app, &ctx, path, put("size"), None).await,
            "Volume \"size\" property is not valid for volume type",
        ),
        (
            patch(&app, &ctx, path, json!({}), None).await,
            "Invalid storage volume type \"container\"",
        ),
        (
            delete(&app, &ctx, path).await,
            "Storage volumes of type \"container\" cannot be deleted with the storage API",
        ),
        (
            rename(&app, &ctx, path, named("c2")).await.map(drop),
            "Renaming storage volumes of type \"container\" is not allowed",
        ),
        (state(&app, &ctx, path).await.map(drop), "Not supported"),
    ] {
        assert_eq!(result.unwrap_err().text(), text);
    }
    let types = |volumes: Vec<StorageVolume>| {
        volumes
            .into_iter()
            .map(|volume| volume.r#type)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        types(list(&app, &ctx, "p1", None, false).await.unwrap()),
        ["container", "image"]
    );
    assert_eq!(
        types(list(&app, &ctx, "p1", Some("image"), false).await.unwrap()),
        ["image"]
    );
    delete(&app, &ctx, ["p1", "image", "abc"]).await.unwrap();
    assert_eq!(
        types(list(&app, &ctx, "p1", None, true).await.unwrap()),
        ["container"]
    );
    let stranger = restricted(&["other"]);
    assert!(
        list(&app, &stranger.in_project("default"), "p1", None, false)
            .await
            .is_err()
    );
    assert_eq!(
        list(&app, &ctx.in_project("nosuch"), "p1", None, false)
            .await
            .unwrap_err()
            .text(),
        "Project not found"
    );
}

#[tokio::test]
async fn works_are_whole_at_every_step() {
    for driver in DRIVERS {
        works_are_whole_on(driver).await;
    }
}

async fn works_are_whole_on(driver: &str) {
    let app = app_with_pool(driver).await;
    let ctx = root();
    let custom = app.paths.storage_pool("p1").join("custom");
    let files = || std::fs::read_dir(&custom).map_or(0, Iterator::count);
    let is_clean = async || {
        assert!(list(&app, &ctx, "p1", None, true).await.unwrap().is_empty());
        assert_eq!(files(), 0);
    };
    let home = Home::new("p1", "default", "v1");
    let make = || works::Create::new(home.clone(), post("v1"));
    let remove = async || delete(&app, &ctx, ["p1", "custom", "v1"]).await.unwrap();
    testing::check_with(&app, &ctx, make, remove, is_clean).await;

    create(&app, &ctx, "p1", post("v1")).await.unwrap();
    let mut tx = app.cluster.read().await.unwrap();
    let id = find(&mut tx, &ctx, ["p1", "custom", "v1"]).await.unwrap().id;
    drop(tx);
    let gone = || works::Delete {
        id,
        home: home.clone(),
        is_image: false,
    };
    let is_there_or_gone = async || {
        let rows = list(&app, &ctx, "p1", None, true).await.unwrap().len();
        assert!(rows == 1 || (rows, files()) == (0, 0));
    };
    testing::death_at_every_step(&app, &ctx, &gone, &async || (), &is_there_or_gone).await;
    is_clean().await;
}
