//! Recovery of pools whose rows are lost, under every fault.

use lxd_api::recover::RecoverPost;
use lxd_db::cluster::{ContentType, instances as rows, storage_volumes};

use super::{import, plan, scan, validate};
use crate::app::App;
use crate::instances::tests::{daemon, make, parts, record};
use crate::operations::testing;
use crate::testing::root;

/// Takes the rows of an instance away, as a lost database does.
async fn lose(app: &App, name: &str) {
    let id = record(app, name).await.unwrap().row.id;
    let mut tx = app.cluster.begin().await.unwrap();
    rows::delete(&mut tx, id).await.unwrap();
    let all = storage_volumes::list(&mut tx, storage_volumes::Filter::default())
        .await
        .unwrap();
    for volume in all.iter().filter(|volume| volume.name == name) {
        storage_volumes::delete(&mut tx, volume.id).await.unwrap();
    }
    tx.commit().await.unwrap();
    let _ = std::fs::remove_file(app.paths.container("default", name));
}

#[tokio::test]
async fn what_is_lost_comes_back_whole_or_not_at_all() {
    let app = daemon().await;
    make(&app, "c1").await;
    make(&app, "c2").await;
    lose(&app, "c1").await;
    let found = validate(&app, &root(), RecoverPost::default()).await.unwrap();
    let volumes = found.unknown_volumes.unwrap();
    assert_eq!((volumes.len(), volumes[0].name.as_str()), (1, "c1"));
    assert_eq!(found.dependency_errors, None);

    let work = plan(&app, &[], scan(&app, &[]).await.unwrap()).await.unwrap();
    // Its files are there all the time.
    let is_clean = async || {
        assert_eq!(parts(&app, "c1").await, [false, false, true, false, true]);
        assert_eq!(parts(&app, "c2").await, [true; 5]);
    };
    let remove = async || {
        assert_eq!(parts(&app, "c1").await, [true; 5]);
        lose(&app, "c1").await;
    };
    testing::check_with(&app, &root(), || work.clone(), remove, is_clean).await;

    import(&app, &root(), RecoverPost::default()).await.unwrap();
    assert_eq!(parts(&app, "c1").await, [true; 5]);
    // The profile's root is in the pool that it was found in.
    assert_eq!(record(&app, "c1").await.unwrap().row.devices.len(), 0);
    let found = validate(&app, &root(), RecoverPost::default()).await.unwrap();
    assert_eq!(found.unknown_volumes, None);
}

#[tokio::test]
async fn volumes_are_what_is_in_them() {
    let app = daemon().await;
    let folder = app.paths.storage_pool("p1").join("custom");
    for (name, files) in [
        ("block", &["root.img"][..]),
        ("files", &["root.img", "b"]),
        ("empty", &[]),
    ] {
        let volume = folder.join(format!("default_{name}"));
        std::fs::create_dir_all(&volume).unwrap();
        for file in files {
            std::fs::write(volume.join(file), "x").unwrap();
        }
    }
    import(&app, &root(), RecoverPost::default()).await.unwrap();
    let mut tx = app.cluster.read().await.unwrap();
    let all = storage_volumes::list(&mut tx, storage_volumes::Filter::default())
        .await
        .unwrap();
    let mut found: Vec<(&str, bool)> = all
        .iter()
        .map(|volume| (volume.name.as_str(), volume.content_type == ContentType::Block))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("block", true), ("empty", false), ("files", false)]);
}

#[tokio::test]
async fn files_that_lie_are_refused() {
    let app = daemon().await;
    make(&app, "c1").await;
    lose(&app, "c1").await;
    let file = app.paths.storage_pool("p1").join("containers/c1/backup.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    for (from, to, why) in [
        (
            "  name: c1\n",
            "  name: c9\n",
            "has a different instance name in its backup file (\"c9\")",
        ),
        (
            "  project: default\n",
            "  project: other\n",
            "has a different project in its backup file (\"other\")",
        ),
        (
            "  name: p1\n",
            "  name: p9\n",
            "has pool name mismatch in its backup file (\"p9\" doesn't match's pool's \"p1\")",
        ),
        ("container:\n", "container: [\n", "makes no sense"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let error = validate(&app, &root(), RecoverPost::default()).await.unwrap_err();
        assert!(error.text().contains(why), "{}", error.text());
    }
}
