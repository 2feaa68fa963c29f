//! Pools in a daemon without listeners.

use lxd_api::storage_pools::{StoragePoolPut, StoragePoolsPost};
use lxd_model::ErrorKind;

use super::*;
use crate::operations::{Verdict, When, testing};
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
        let make = || works::Create::new(of_driver(driver));
        let is_clean = async || {
            assert_eq!(urls(&app, &ctx).await.unwrap(), Vec::<String>::new());
            assert!(!app.paths.storage_pool("p1").exists());
            assert!(!app.paths.disks().join("p1.img").exists());
        };
        let remove = async || delete(&app, &ctx, "p1").await.unwrap();
        testing::check_with(&app, &ctx, make, remove, is_clean).await;
    }
}

fn of_driver(driver: &str) -> StoragePoolsPost {
    let mut post = post("p1", driver);
    if driver == "btrfs" {
        post.config.insert("size".into(), "256MiB".into());
    }
    post
}

async fn is_gone(app: &TestApp) {
    assert_eq!(
        urls(app, &Ctx::daemon("default")).await.unwrap(),
        Vec::<String>::new()
    );
    assert!(!app.paths.storage_pool("p1").exists());
    assert!(!app.paths.disks().join("p1.img").exists());
    let mounts = lxd_sys::mount::mounts_beneath(app.paths.root()).unwrap();
    assert!(mounts.is_empty(), "{mounts:?}");
    let open = app.journal.unfinished().await.unwrap();
    assert!(open.is_empty(), "{open:?}");
}

/// How a deletion ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A step fails.
    Failure,
    /// The daemon's work stops, and is taken up.
    Death,
    /// The next daemon takes it up.
    Restart,
}

#[tokio::test]
async fn deleting_a_pool_goes_on_to_its_end_whatever_happens() {
    for driver in ["btrfs", "dir", "overlay"] {
        let mut app = TestApp::start().await;
        let ctx = Ctx::daemon("default");
        for (step, when) in ["pool", "row"]
            .into_iter()
            .flat_map(|step| [(step, When::Before), (step, When::After)])
        {
            for end in [End::Failure, End::Death, End::Restart] {
                create(&app, &ctx, of_driver(driver)).await.unwrap();
                std::fs::write(app.paths.storage_pool("p1").join("images/x"), "x").unwrap();
                app.faults
                    .set(move |_, name, at| match (name == step && at == when, end) {
                        (false, _) => Verdict::Go,
                        (true, End::Failure) => Verdict::Fail(Error::internal("on purpose")),
                        (true, _) => Verdict::Crash,
                    });
                assert!(
                    delete(&app, &ctx, "p1").await.is_err(),
                    "{driver} {step} {when:?}"
                );
                app.faults.clear();
                match end {
                    // It can be asked for again, unless the row is gone.
                    End::Failure => drop(delete(&app, &ctx, "p1").await),
                    End::Death => operations::recover(&app).await.unwrap(),
                    End::Restart => app = app.restart().await,
                }
                is_gone(&app).await;
            }
        }
    }
}

/// What is left where a daemon died in the middle of the deletion itself.
#[tokio::test]
async fn a_pool_that_is_half_gone_goes() {
    for (driver, gone) in [
        ("btrfs", "disks/p1.img"),
        ("dir", "storage-pools/p1/images"),
        ("overlay", "storage-pools/p1/containers"),
    ] {
        let app = TestApp::start().await;
        let ctx = Ctx::daemon("default");
        create(&app, &ctx, of_driver(driver)).await.unwrap();
        app.faults
            .set(|_, name, at| match name == "pool" && at == When::Before {
                true => Verdict::Crash,
                false => Verdict::Go,
            });
        assert!(delete(&app, &ctx, "p1").await.is_err());
        app.faults.clear();
        let (_, failures) = lxd_sys::mount::detach_beneath(&app.paths.storage_pools());
        assert!(failures.is_empty(), "{failures:?}");
        let gone = app.paths.root().join(gone);
        match gone.is_dir() {
            true => std::fs::remove_dir(gone).unwrap(),
            false => std::fs::remove_file(gone).unwrap(),
        }
        let app = app.restart().await;
        is_gone(&app).await;
        create(&app, &ctx, of_driver(driver)).await.unwrap();
        delete(&app, &ctx, "p1").await.unwrap();
        is_gone(&app).await;
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
