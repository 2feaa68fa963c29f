//! Pools in a daemon without listeners.

use lxd_api::storage_pools::{StoragePoolPut, StoragePoolsPost};
use lxd_model::ErrorKind;

use super::*;
use crate::operations::testing;
use crate::testing::TestApp;

fn post(name: &str, driver: &str) -> StoragePoolsPost {
    StoragePoolsPost {
        name: name.into(),
        driver: driver.into(),
        ..StoragePoolsPost::default()
    }
}

#[tokio::test]
async fn a_pool_is_made_changed_kept_and_deleted() {
    let app = TestApp::start().await;
    let ctx = Ctx::daemon("default");
    assert_eq!(
        create(&app, &ctx, post("p1", "dir")).await.unwrap(),
        "/1.0/storage-pools/p1"
    );
    let pool = get(&app, &ctx, "p1").await.unwrap();
    assert_eq!(
        (pool.value.status.as_str(), pool.value.locations.as_slice()),
        ("Created", &["none".to_owned()][..])
    );
    let source = pool.value.config["source"].clone();
    assert!(source.ends_with("/storage-pools/p1"));

    let mut put = StoragePoolPut {
        description: "d".into(),
        ..StoragePoolPut::default()
    };
    put.config.insert("user.x".into(), "1".into());
    let stale = update(&app, &ctx, "p1", put.clone(), Some("0"))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
    for elsewhere in ["", "/elsewhere"] {
        put.config.insert("source".into(), elsewhere.into());
        assert!(update(&app, &ctx, "p1", put.clone(), None).await.is_err());
    }
    put.config.insert("source".into(), source.clone());
    update(&app, &ctx, "p1", put, Some(&pool.etag)).await.unwrap();

    let app = app.restart().await;
    let pool = get(&app, &ctx, "p1").await.unwrap().value;
    assert_eq!(
        (
            &pool.config["source"],
            &pool.config["user.x"],
            pool.description.as_str()
        ),
        (&source, &"1".into(), "d")
    );
    assert!(resources(&app, &ctx, "p1").await.unwrap().space.total > 0);
    delete(&app, &ctx, "p1").await.unwrap();
    assert_eq!(urls(&app, &ctx).await.unwrap(), Vec::<String>::new());
    assert!(!std::path::Path::new(&source).exists());
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let app = TestApp::start().await;
    let ctx = Ctx::daemon("default");
    let mut unknown_key = post("p1", "dir");
    unknown_key.config.insert("no.such".into(), "1".into());
    let mut missing_source = post("p1", "dir");
    missing_source.config.insert("source".into(), "/nosuch".into());
    for (post, text) in [
        (post("", "dir"), "No name provided"),
        (post("a/b", "dir"), "Storage pool names may not contain slashes"),
        (post("p1", ""), "No driver provided"),
        (post("p1", "nosuch"), "Unknown driver"),
        (unknown_key, "Invalid option \"no.such\""),
        (missing_source, "Source path '/nosuch' doesn't exist"),
    ] {
        assert_eq!(create(&app, &ctx, post).await.unwrap_err().text(), text);
        assert_eq!(urls(&app, &ctx).await.unwrap(), Vec::<String>::new(), "{text}");
    }
    create(&app, &ctx, post("p1", "overlay")).await.unwrap();
    let taken = create(&app, &ctx, post("p1", "dir")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    delete(&app, &ctx, "p1").await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_somebodys_stays_as_it_is() {
    let app = TestApp::start().await;
    let ctx = Ctx::daemon("default");
    let source = tempfile::tempdir().unwrap();
    let file = source.path().join("precious");
    std::fs::write(&file, "x").unwrap();
    for driver in ["dir", "overlay"] {
        let mut post = post("p1", driver);
        let path = source.path().display().to_string();
        post.config.insert("source".into(), path.clone());
        let error = create(&app, &ctx, post).await.unwrap_err();
        assert_eq!(error.text(), format!("Source path '{path}' isn't empty"));
        assert!(file.exists());
        assert!(!app.paths.storage_pool("p1").exists());
    }
}

#[tokio::test]
async fn making_a_pool_is_whole_at_every_step() {
    let app = TestApp::start().await;
    let ctx = Ctx::daemon("default");
    for driver in ["btrfs", "dir", "overlay"] {
        let make = || {
            let mut post = post("p1", driver);
            if driver == "btrfs" {
                post.config.insert("size".into(), "256MiB".into());
            }
            works::Create::new(post)
        };
        let is_clean = async || {
            assert_eq!(urls(&app, &ctx).await.unwrap(), Vec::<String>::new());
            assert!(!app.paths.storage_pool("p1").exists());
            assert!(!app.paths.disks().join("p1.img").exists());
        };
        let remove = async || delete(&app, &ctx, "p1").await.unwrap();
        testing::check_with(&app, &ctx, make, remove, is_clean).await;
    }
}

#[tokio::test]
async fn a_file_of_somebodys_is_no_pools() {
    let app = TestApp::start().await;
    let ctx = Ctx::daemon("default");
    let file = app.paths.disks().join("p1.img");
    std::fs::create_dir_all(app.paths.disks()).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let error = create(&app, &ctx, post("p1", "btrfs")).await.unwrap_err();
    assert!(error.text().contains("exists already"), "{}", error.text());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}
