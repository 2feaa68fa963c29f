//! Images that there is no room for: nothing of them is left, and they come in once there is room.

use lxd_api::images::{ImagesPost, ImagesPostSource};

use super::tests::{archive, bytes_of, stream};
use super::*;
use crate::instances::tests::{daemon, make};
use crate::testing::disk::{Disk, assert_same, files, is_no_room};
use crate::testing::{TestApp, root};

/// Bytes of the folder's file system.
const SIZE: u64 = 80 << 20;

/// What must stay free, so that databases can be written.
const RESERVE: u64 = 64 << 20;

/// Bytes of what an image is made of.
const CONTENT: usize = 2 << 20;

/// The ways in which an image comes in.
const WISHES: [&str; 4] = ["upload", "two files", "second file", "publish"];

/// Bytes that do not shrink.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..CONTENT).map(next).collect()
}

async fn upload(app: &TestApp, wish: &str) -> Result<Upload> {
    let text = String::from_utf8_lossy(&noise()).into_owned();
    if wish == "upload" {
        return Upload::unified(app, stream(bytes_of(&text))).await;
    }
    let metadata = archive(&[("metadata.yaml", super::tests::METADATA)]);
    let (small, large) = (archive(&[("etc/issue", "x")]), archive(&[("etc/issue", &text)]));
    let (metadata, rootfs) = match wish {
        "two files" => (archive(&[("templates/x", &text)]), small),
        _ => (metadata, large),
    };
    let first = Upload::first_part(app, stream(metadata)).await?;
    first.second_part(app, "rootfs", "root", stream(rootfs)).await
}

async fn ask(app: &TestApp, wish: &str) -> Result<()> {
    if wish == "publish" {
        let post = ImagesPost {
            source: Some(ImagesPostSource {
                r#type: "instance".into(),
                name: "c1".into(),
                ..ImagesPostSource::default()
            }),
            compression_algorithm: "none".into(),
            ..ImagesPost::default()
        };
        return super::publish::publish(app, &root(), post).await?.outcome().await;
    }
    let upload = upload(app, wish).await?;
    let operation = import(app, &root(), Ok(upload), ImportRequest::default()).await?;
    operation.outcome().await
}

async fn world(app: &TestApp) -> Vec<String> {
    let mut found = files(&app.paths.images());
    let rows = list(app, &root()).await.unwrap();
    found.extend(rows.into_iter().map(|image| image.fingerprint));
    assert!(app.journal.unfinished().await.unwrap().is_empty());
    assert!(app.operations.running().is_empty());
    found
}

async fn remove_all(app: &TestApp) {
    for image in list(app, &root()).await.unwrap() {
        let gone = delete(app, &root(), &image.fingerprint).await.unwrap();
        gone.outcome().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_no_image_comes_in() {
    let app = daemon().await;
    make(&app, "c1").await;
    let rootfs = app.paths.container("default", "c1").join("rootfs");
    std::fs::write(rootfs.join("f"), noise()).unwrap();
    let disk = Disk::over(&app.paths.images(), SIZE);
    let before = world(&app).await;
    for wish in WISHES {
        // What the server makes itself takes all that there is; others leave something.
        let kept = if wish == "publish" { 0 } else { RESERVE };
        for room in [0, 4096, 1 << 20] {
            let about = format!("{wish} with {room} bytes");
            disk.fill(kept + room);
            let error = ask(&app, wish).await.expect_err(&about);
            assert!(is_no_room(&error), "{about}: {}", error.text());
            assert_same(&world(&app).await, &before, &about);
            disk.clear();
        }
        if wish != "two files" {
            ask(&app, wish)
                .await
                .unwrap_or_else(|error| panic!("{wish}: {}", error.text()));
            remove_all(&app).await;
            assert_same(&world(&app).await, &before, wish);
        }
    }
}
