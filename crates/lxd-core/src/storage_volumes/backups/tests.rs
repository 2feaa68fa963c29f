//! Backups of custom volumes in a daemon without listeners, under every fault.

use lxd_api::storage_volumes::{StoragePoolVolumeBackupsPost, StorageVolumeSnapshotsPost};
use lxd_storage::images::{Fingerprint, receive as receive_file};

use super::super::snapshots;
use super::super::tests::{DRIVERS, app_with_pool, post, read, write};
use super::*;
use crate::operations::testing;
use crate::testing::{TestApp, root};

const PATH: Path<'static> = ["p1", "custom", "v1"];

async fn volume(driver: &str, content_type: &str) -> TestApp {
    let app = app_with_pool(driver).await;
    let mut post = post("v1");
    post.content_type = content_type.into();
    post.config = [("user.a".to_owned(), "1".to_owned())].into();
    if content_type == "block" {
        post.config.insert("size".into(), "16384".into());
    }
    super::super::create(&app, &root(), "p1", post).await.unwrap();
    let file = if content_type == "block" { "root.img" } else { "f" };
    let path = app.paths.storage_pool("p1").join("custom/default_v1").join(file);
    std::fs::write(&path, "one").unwrap();
    let post = StorageVolumeSnapshotsPost {
        name: "s0".into(),
        ..StorageVolumeSnapshotsPost::default()
    };
    let taken = snapshots::create(&app, &root(), PATH, post).await.unwrap();
    taken.outcome().await.unwrap();
    std::fs::write(&path, "two").unwrap();
    app
}

async fn back_up(app: &TestApp, name: &str, algorithm: &str, is_optimized: bool) {
    let post = StoragePoolVolumeBackupsPost {
        name: name.into(),
        compression_algorithm: algorithm.into(),
        optimized_storage: is_optimized,
        ..StoragePoolVolumeBackupsPost::default()
    };
    let made = create(app, &root(), PATH, post).await.unwrap();
    made.outcome().await.unwrap();
}

fn archive(app: &TestApp, name: &str) -> std::path::PathBuf {
    files::file(app, &Home::new("p1", "default", "v1"), name)
}

async fn bring_back(app: &TestApp, backup: &str, name: &str) -> Result<()> {
    let bytes = std::fs::read(archive(app, backup)).unwrap();
    let stream = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(bytes))]);
    let received = receive(app, &root(), stream).await?;
    let request = Request {
        pool: "p1".into(),
        name: name.into(),
    };
    import(app, &root(), received, request).await?.outcome().await
}

#[tokio::test]
async fn volumes_come_back_from_archives() {
    for (driver, content_type, file) in [
        ("dir", "filesystem", "f"),
        ("overlay", "filesystem", "f"),
        ("dir", "block", "root.img"),
        ("btrfs", "filesystem", "f"),
        ("btrfs", "block", "root.img"),
    ] {
        let app = volume(driver, content_type).await;
        for algorithm in ["none", "gzip", "zstd"] {
            back_up(&app, algorithm, algorithm, algorithm != "gzip").await;
            let name = format!("from-{algorithm}");
            bring_back(&app, algorithm, &name).await.unwrap();
            let shown = super::super::get(&app, &root(), ["p1", "custom", &name])
                .await
                .unwrap();
            assert_eq!(shown.value.content_type, content_type);
            assert_eq!(shown.value.config["user.a"], "1");
            let pool = app.paths.storage_pool("p1");
            let content = |place: &str| std::fs::read_to_string(pool.join(place).join(file)).unwrap();
            assert_eq!(content(&format!("custom/default_{name}")), "two");
            assert_eq!(content(&format!("custom-snapshots/default_{name}/s0")), "one");
        }
        let taken = bring_back(&app, "none", "").await.unwrap_err();
        assert_eq!(
            taken.text(),
            "Create custom volume from backup: Volume by that name already exists"
        );
        let all = list(&app, &root(), PATH).await.unwrap();
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["none", "gzip", "zstd"]);
        let optimized: Vec<bool> = all.iter().map(|one| one.optimized_storage).collect();
        let has_form = driver == "btrfs";
        assert_eq!(optimized, [has_form, false, has_form]);
        super::super::delete(&app, &root(), PATH).await.unwrap();
        assert_eq!(std::fs::read_dir(app.paths.custom_backups()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn archives_that_lie_are_refused() {
    let app = volume("dir", "filesystem").await;
    for text in [
        "name: v9\ntype: container\n",
        "name: v9\ntype: custom\n",
        "name: [\n",
    ] {
        let mut packer = lxd_storage::images::pack::Packer::new(Vec::new(), lxd_storage::Watch::none());
        packer.file(index::PATH, text.as_bytes()).unwrap();
        std::fs::create_dir_all(archive(&app, "x").parent().unwrap()).unwrap();
        std::fs::write(archive(&app, "x"), packer.finish().unwrap()).unwrap();
        let error = bring_back(&app, "x", "v9").await.unwrap_err();
        assert_eq!(error.kind(), lxd_model::ErrorKind::BadRequest, "{}", error.text());
    }
    let junk = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[7; 4096]))]);
    let directory = app.paths.backups();
    let received = receive_file(
        &directory,
        Fingerprint::new(),
        u64::MAX,
        junk,
        lxd_storage::Watch::none(),
    );
    let request = Request {
        pool: "p1".into(),
        name: "v9".into(),
    };
    let refused = import(&app, &root(), received.await.unwrap().0, request).await;
    assert_eq!(refused.err().unwrap().text(), "Unsupported compression");
    assert!(!app.paths.storage_pool("p1").join("custom/default_v9").exists());
}

#[tokio::test]
async fn backups_expire_and_follow_their_volume() {
    let app = volume("dir", "filesystem").await;
    let ctx = root();
    let old = StoragePoolVolumeBackupsPost {
        name: "old".into(),
        expires_at: Time::from_unix(1),
        ..StoragePoolVolumeBackupsPost::default()
    };
    create(&app, &ctx, PATH, old)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    back_up(&app, "kept", "none", false).await;
    expiry::prune(&app).await.unwrap();
    assert!(!archive(&app, "old").exists() && archive(&app, "kept").exists());
    let post = lxd_api::storage_volumes::StorageVolumePost {
        name: "v2".into(),
        ..Default::default()
    };
    super::super::rename(&app, &ctx, PATH, post).await.unwrap();
    let exported = export(&app, &ctx, ["p1", "custom", "v2"], "kept").await.unwrap();
    assert!(exported.size > 0);
    assert_eq!(read(&app, "custom/default_v2"), "two");
    write(&app, "default_v2", "three");
}

#[tokio::test]
async fn works_are_whole_at_every_step() {
    for driver in DRIVERS {
        works_are_whole_on(driver).await;
    }
}

async fn works_are_whole_on(driver: &str) {
    let app = volume(driver, "filesystem").await;
    let (ctx, home) = (root(), Home::new("p1", "default", "v1"));
    let has = async |wanted: &[&str]| {
        let all = list(&app, &ctx, PATH).await.unwrap();
        let names: Vec<String> = all.into_iter().map(|one| one.name).collect();
        assert_eq!(names, wanted);
        let folder = archive(&app, "x").parent().unwrap().to_owned();
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let files: Vec<String> = entries.map(|e| e.file_name().display().to_string()).collect();
        assert_eq!(files, wanted);
    };
    let make = || make::Make {
        home: home.clone(),
        name: "b0".into(),
        created_at: Time::from_unix(1),
        expires_at: Time::never(),
        volume_only: false,
        algorithm: "none".into(),
        is_optimized: driver == "btrfs",
        is_new: false,
    };
    let remove = async || {
        let gone = delete(&app, &ctx, PATH, "b0").await.unwrap();
        gone.outcome().await.unwrap();
    };
    testing::check_with(&app, &ctx, make, remove, async || has(&[]).await).await;

    back_up(&app, "b0", "none", true).await;
    let mut tx = app.cluster.read().await.unwrap();
    let id = row_of(&mut tx, &home, "b0").await.unwrap().id;
    drop(tx);
    let make = || rename::Rename {
        home: home.clone(),
        id,
        old: "b0".into(),
        new: "b1".into(),
    };
    let back = async || {
        let back = super::rename(&app, &ctx, PATH, "b1", "b0").await.unwrap();
        back.outcome().await.unwrap();
    };
    testing::check_with(&app, &ctx, make, back, async || has(&["b0"]).await).await;

    let file = archive(&app, "b0");
    let index = index::Index::read(file.clone()).await.unwrap();
    let text = index.to_text().unwrap();
    assert!(text.contains("type: custom\n"), "{text}");
    let new = Home::new("p1", "default", "v9");
    let made = import::plan(&app, new, index, file).unwrap();
    let is_clean = async || {
        let path = ["p1", "custom", "v9"];
        assert!(super::super::get(&app, &ctx, path).await.is_err());
        let pool = app.paths.storage_pool("p1");
        assert!(!pool.join("custom/default_v9").exists());
        assert!(!pool.join("custom-snapshots/default_v9").exists());
    };
    let remove = async || {
        super::super::delete(&app, &ctx, ["p1", "custom", "v9"])
            .await
            .unwrap();
    };
    testing::check_with(&app, &ctx, || made.clone(), remove, is_clean).await;

    let make = || Delete {
        home: home.clone(),
        name: "b0".into(),
    };
    let is_there_or_gone = async || {
        let rows = list(&app, &ctx, PATH).await.unwrap().len();
        assert!(rows == 1 || !archive(&app, "b0").exists());
    };
    testing::death_at_every_step(&app, &ctx, &make, &async || (), &is_there_or_gone).await;
    has(&[]).await;
}
