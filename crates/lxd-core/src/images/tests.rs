//! Images in a daemon without listeners.

use std::path::Path;

use bytes::Bytes;
use lxd_api::images::{ImageAliasesEntryPut, ImageAliasesPost, ImagesPost, ImagesPostSource};
use lxd_api::projects::ProjectsPost;
use lxd_api::storage_pools::StoragePoolsPost;
use lxd_storage::Watch;
use serde_json::json;

use super::*;
use crate::ctx::Caller;
use crate::operations::{Status, testing};
use crate::testing::{TestApp, next_event, restricted, root};
use crate::{projects as project_cases, storage_pools};

pub(super) const METADATA: &str =
    "architecture: x86_64\ncreation_date: 1424284563\nproperties:\n  os: BusyBox\n  name: bb\n";

/// A tar archive of these files.
pub(super) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

pub(super) fn bytes_of(content: &str) -> Vec<u8> {
    archive(&[("metadata.yaml", METADATA), ("rootfs/etc/issue", content)])
}

pub(super) fn stream(bytes: Vec<u8>) -> impl futures::Stream<Item = Result<Bytes, String>> {
    let chunks: Vec<_> = bytes
        .chunks(1000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    futures::stream::iter(chunks)
}

async fn upload(app: &App, content: &str) -> Upload {
    Upload::unified(app, stream(bytes_of(content))).await.unwrap()
}

/// Brings in an image with the given content; gives its fingerprint.
async fn bring(app: &TestApp, ctx: &Ctx, content: &str, request: ImportRequest) -> String {
    let upload = upload(app, content).await;
    let fingerprint = upload.fingerprint.clone();
    let operation = import(app, ctx, Ok(upload), request).await.unwrap();
    operation.outcome().await.unwrap();
    fingerprint
}

async fn failure(operation: Result<Operation>) -> String {
    let operation = operation.unwrap();
    operation.wait(None).await;
    assert_eq!(operation.status(), Status::Failure);
    operation.error()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn stranger() -> Ctx {
    Ctx::new(Caller::Untrusted { certificate: None })
}

async fn make_project(app: &TestApp, name: &str, features: &[(&str, &str)]) {
    let config = features
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let post = ProjectsPost {
        name: name.into(),
        config: config.collect(),
        ..ProjectsPost::default()
    };
    project_cases::create(app, &root(), post).await.unwrap();
}

#[tokio::test]
async fn an_image_is_brought_in_changed_exported_and_deleted() {
    let app = TestApp::start().await;
    let ctx = root();
    let mut events = app.listen();
    let request = ImportRequest {
        filename: "bb.tar".into(),
        properties: [("name".to_owned(), "mine".to_owned())].into(),
        ..ImportRequest::default()
    };
    let fingerprint = bring(&app, &ctx, "1", request).await;
    let created = loop {
        let event = next_event(&mut events).await;
        if event["type"] == "lifecycle" {
            break event;
        }
    };
    assert_eq!(created["metadata"]["action"], "image-created");
    assert_eq!(created["metadata"]["context"], json!({"type": "container"}));

    let image = get(&app, &ctx, &fingerprint[..12].to_uppercase(), None)
        .await
        .unwrap();
    let shown = &image.value;
    assert_eq!(
        (
            shown.filename.as_str(),
            shown.properties["name"].as_str(),
            shown.properties["os"].as_str()
        ),
        ("bb.tar", "mine", "BusyBox")
    );
    assert_eq!(
        (shown.profiles.as_slice(), shown.size),
        (&["default".to_owned()][..], bytes_of("1").len() as i64)
    );
    assert_eq!(shown.created_at.to_string(), "2015-02-18T18:36:03Z");
    assert_eq!(names(&app.paths.images()), std::slice::from_ref(&fingerprint));

    let change = |value| serde_json::from_value::<Change>(value).unwrap();
    let stale = update(&app, &ctx, &fingerprint, Change::default(), Some("0"))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
    let put = change(json!({"public": true, "properties": {"x": "y"}}));
    update(&app, &ctx, &fingerprint, put, Some(&image.etag))
        .await
        .unwrap();
    let put = change(json!({"properties": {"z": "1", "x": ""}, "expires_at": "2030-01-01T00:00:00Z"}));
    patch(&app, &ctx, &fingerprint, put, None).await.unwrap();
    let shown = get(&app, &ctx, &fingerprint, None).await.unwrap().value;
    assert_eq!(shown.properties, [("z".to_owned(), "1".to_owned())].into());
    assert!(shown.public && shown.profiles.len() == 1);
    let missing = change(json!({"profiles": ["nosuch"]}));
    let error = patch(&app, &ctx, &fingerprint, missing, None).await.unwrap_err();
    assert_eq!(error.text(), "Profile 'nosuch' doesn't exist");

    let exported = export(&app, &ctx, &fingerprint, None).await.unwrap();
    assert_eq!(exported.files[0].filename, format!("{fingerprint}.tar"));
    drop(exported);
    let app = app.restart().await;
    delete(&app, &ctx, &fingerprint)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    assert!(list(&app, &ctx).await.unwrap().is_empty());
    assert!(names(&app.paths.images()).is_empty());
}

#[tokio::test]
async fn a_split_image_is_two_files_with_one_fingerprint() {
    let app = TestApp::start().await;
    let ctx = root();
    let (metadata, rootfs) = (
        archive(&[("metadata.yaml", METADATA)]),
        archive(&[("etc/issue", "x")]),
    );
    let parts = async |name: &'static str| {
        let first = Upload::first_part(&app, stream(metadata.clone())).await.unwrap();
        first
            .second_part(&app, name, "root.tar", stream(rootfs.clone()))
            .await
    };
    let wrong = parts("nosuch").await.unwrap_err();
    assert_eq!(wrong.text(), "Invalid multipart image");
    let received = parts("rootfs").await.unwrap();
    let fingerprint = received.fingerprint.clone();
    let whole = Upload::unified(&app, stream([metadata.clone(), rootfs.clone()].concat()))
        .await
        .unwrap();
    assert_eq!(fingerprint, whole.fingerprint);
    drop(whole);
    let operation = import(&app, &ctx, Ok(received), ImportRequest::default())
        .await
        .unwrap();
    operation.outcome().await.unwrap();
    assert_eq!(operation.metadata()["fingerprint"], fingerprint.as_str());
    assert_eq!(
        names(&app.paths.images()),
        [fingerprint.clone(), format!("{fingerprint}.rootfs")]
    );
    let shown = get(&app, &ctx, &fingerprint, None).await.unwrap().value;
    assert_eq!(
        (shown.filename.as_str(), shown.r#type.as_str()),
        ("root.tar", "container")
    );
    let exported = export(&app, &ctx, &fingerprint, None).await.unwrap();
    let files: Vec<_> = exported
        .files
        .iter()
        .map(|file| (file.part, file.filename.clone()))
        .collect();
    assert_eq!(
        files,
        [
            ("metadata", format!("meta-{fingerprint}.tar")),
            ("rootfs", format!("{fingerprint}.tar"))
        ]
    );
    drop(exported);
    delete(&app, &ctx, &fingerprint)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    let disk = parts("rootfs.img").await.unwrap();
    import(&app, &ctx, Ok(disk), ImportRequest::default())
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    assert_eq!(list(&app, &ctx).await.unwrap()[0].r#type, "virtual-machine");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let app = TestApp::start().await;
    let ctx = root();
    let metadata = |text: &str| archive(&[("metadata.yaml", text), ("rootfs/x", "")]);
    for (bytes, text) in [
        (Vec::new(), "EOF"),
        (vec![7; 5000], "Unsupported compression"),
        (
            archive(&[("rootfs/x", "")]),
            "Metadata tarball is missing metadata.yaml",
        ),
        (archive(&[("metadata.yaml", METADATA)]), "Invalid instance type"),
        (
            metadata("architecture: bogus\ncreation_date: 5"),
            "Architecture isn't supported: bogus",
        ),
        (metadata("architecture: x86_64"), "Missing creation date"),
    ] {
        let upload = Upload::unified(&app, stream(bytes)).await;
        let failed = failure(import(&app, &ctx, upload, ImportRequest::default()).await).await;
        assert_eq!(failed, text);
        assert!(names(&app.paths.images()).is_empty(), "{text}");
    }
    let broken = futures::stream::iter([Ok(Bytes::from_static(b"x")), Err("gone")]);
    let upload = Upload::unified(&app, broken).await;
    let failed = failure(import(&app, &ctx, upload, ImportRequest::default()).await).await;
    assert!(failed.contains("gone"), "{failed}");
    let wanted = ImportRequest {
        fingerprint: "abc".into(),
        ..ImportRequest::default()
    };
    let received = upload_of(&app).await;
    let failed = failure(import(&app, &ctx, Ok(received), wanted).await).await;
    assert!(failed.starts_with("fingerprints don't match, got "), "{failed}");
    assert!(names(&app.paths.images()).is_empty());

    let fingerprint = bring(&app, &ctx, "1", ImportRequest::default()).await;
    let again = import(&app, &ctx, Ok(upload_of(&app).await), ImportRequest::default()).await;
    assert_eq!(failure(again).await, "Image with same fingerprint already exists");
    assert_eq!(names(&app.paths.images()), [fingerprint]);
}

async fn upload_of(app: &App) -> Upload {
    upload(app, "1").await
}

#[tokio::test]
async fn sources_that_this_server_cannot_reach_fail_with_a_reason() {
    let app = TestApp::start().await;
    let post = |kind: &str, name: &str, url: &str, alias: &str| ImagesPost {
        source: Some(ImagesPostSource {
            r#type: kind.into(),
            name: name.into(),
            url: url.into(),
            alias: alias.into(),
            ..ImagesPostSource::default()
        }),
        ..ImagesPost::default()
    };
    for (post, text) in [
        (post("url", "", "", ""), "Missing URL"),
        (
            post("image", "", "", ""),
            "must specify one of alias or fingerprint for init from image",
        ),
        (post("instance", "", "", ""), "No source provided"),
        (
            post("image", "", "", "x"),
            "Failed to connect to LXD server \"\": Get \"/1.0\": unsupported protocol scheme \"\"",
        ),
    ] {
        assert_eq!(failure(import_from(&app, &root(), post).await).await, text);
    }
    let unknown = import_from(&app, &root(), post("nosuch", "", "", ""))
        .await
        .err()
        .unwrap();
    assert_eq!(
        (unknown.kind(), unknown.text().as_str()),
        (ErrorKind::Internal, "Invalid images JSON")
    );
    let missing = import_from(&app, &root(), post("instance", "c1", "", ""))
        .await
        .err()
        .unwrap();
    assert_eq!(
        (missing.kind(), missing.text().as_str()),
        (ErrorKind::NotFound, "Instance not found")
    );
}

#[tokio::test]
async fn strangers_see_what_is_public_or_what_they_have_a_secret_for() {
    let app = TestApp::start().await;
    let public = ImportRequest {
        public: true,
        ..ImportRequest::default()
    };
    let open = bring(&app, &root(), "open", public).await;
    let hidden = bring(&app, &root(), "hidden", ImportRequest::default()).await;
    for (name, target) in [("o", &open), ("h", &hidden)] {
        aliases::create(&app, &root(), alias(name, target)).await.unwrap();
    }
    let seen: Vec<_> = list(&app, &stranger()).await.unwrap();
    assert_eq!(
        seen.iter().map(|image| &image.fingerprint).collect::<Vec<_>>(),
        [&open]
    );
    assert_eq!(
        urls(&app, &stranger()).await.unwrap(),
        [format!("/1.0/images/{open}")]
    );
    assert!(get(&app, &stranger(), &open, None).await.is_ok());
    assert!(aliases::get(&app, &stranger(), "o").await.is_ok());
    assert!(aliases::list(&app, &stranger()).await.is_err());
    let refused = aliases::get(&app, &stranger(), "h").await.unwrap_err();
    assert_eq!(refused.text(), "Image alias not found");
    let refused = get(&app, &stranger(), &hidden[..20], Some("x"))
        .await
        .unwrap_err();
    assert_eq!(refused.text(), format!("Image {:?} not found", &hidden[..20]));
    for refused in [
        delete(&app, &stranger(), &open).await.err(),
        secret(&app, &stranger(), &open).await.err(),
        holder(&app, &stranger()).await.err(),
    ] {
        assert_eq!(refused.unwrap().kind(), ErrorKind::Forbidden);
    }

    let token = secret(&app, &root(), &hidden).await.unwrap();
    let word = token.metadata()["secret"].as_str().unwrap().to_owned();
    assert!(get(&app, &stranger(), &open, Some(&word)).await.is_ok());
    assert_eq!(token.status(), Status::Running);
    assert!(get(&app, &stranger(), &hidden, Some(&word)).await.is_ok());
    assert!(export(&app, &stranger(), &hidden, Some(&word)).await.is_ok());
    app.operations.finish_token(&token);
    assert!(get(&app, &stranger(), &hidden, Some(&word)).await.is_err());
}

fn alias(name: &str, target: &str) -> ImageAliasesPost {
    ImageAliasesPost {
        name: name.into(),
        target: target.into(),
        ..ImageAliasesPost::default()
    }
}

#[tokio::test]
async fn aliases_are_made_changed_renamed_and_deleted() {
    let app = TestApp::start().await;
    let ctx = root();
    let one = bring(&app, &ctx, "1", ImportRequest::default()).await;
    let two = bring(&app, &ctx, "2", ImportRequest::default()).await;
    let made = aliases::create(&app, &ctx, alias("a/1", &one[..10]))
        .await
        .unwrap();
    assert_eq!(made, "/1.0/images/aliases/a%2F1");
    for (name, target, text) in [
        ("a/1", one.as_str(), "Alias \"a/1\" already exists"),
        ("b", "ffff", "Image not found"),
        ("", "ffff", "name and target are required"),
        ("b", "", "name and target are required"),
    ] {
        let error = aliases::create(&app, &ctx, alias(name, target))
            .await
            .unwrap_err();
        assert_eq!(error.text(), text);
    }
    let found = aliases::get(&app, &ctx, "a/1").await.unwrap();
    let put = ImageAliasesEntryPut {
        description: "d".into(),
        target: two.clone(),
    };
    aliases::update(&app, &ctx, "a/1", put.clone(), Some(&found.etag))
        .await
        .unwrap();
    assert!(
        aliases::update(&app, &ctx, "a/1", put, Some(&found.etag))
            .await
            .is_err()
    );
    aliases::patch(&app, &ctx, "a/1", json!({"description": "e"}), None)
        .await
        .unwrap();
    let found = aliases::get(&app, &ctx, "a/1").await.unwrap().value;
    assert_eq!(
        (found.description.as_str(), found.target.as_str()),
        ("e", two.as_str())
    );
    aliases::create(&app, &ctx, alias("b", &one)).await.unwrap();
    assert_eq!(
        aliases::rename(&app, &ctx, "a/1", "b").await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    aliases::rename(&app, &ctx, "a/1", "c").await.unwrap();
    aliases::delete(&app, &ctx, "b").await.unwrap();
    assert!(aliases::delete(&app, &ctx, "b").await.is_err());
    delete(&app, &ctx, &two).await.unwrap().outcome().await.unwrap();
    assert!(
        aliases::list(&app, &ctx).await.unwrap().is_empty(),
        "aliases go with their image"
    );
}

#[tokio::test]
async fn an_image_gets_all_of_its_aliases_or_none() {
    let app = TestApp::start().await;
    let ctx = root();
    let wanted = |names: &[&str]| ImportRequest {
        aliases: names
            .iter()
            .map(|name| ImageAlias {
                name: (*name).into(),
                ..ImageAlias::default()
            })
            .collect(),
        ..ImportRequest::default()
    };
    bring(&app, &ctx, "1", wanted(&["a", "b"])).await;
    for (content, names, why) in [
        ("2", ["c", "a"], "Alias already exists: a"),
        ("3", ["c", "c"], "Alias already exists: c"),
        ("4", ["c", ""], "name and target are required"),
    ] {
        let sent = Ok(upload(&app, content).await);
        assert_eq!(failure(import(&app, &ctx, sent, wanted(&names)).await).await, why);
    }
    let held: Vec<String> = aliases::list(&app, &ctx)
        .await
        .unwrap()
        .into_iter()
        .map(|alias| alias.name)
        .collect();
    assert_eq!(held, ["a", "b"]);
    assert_eq!(list(&app, &ctx).await.unwrap().len(), 4, "the images stay");
}

#[tokio::test]
async fn projects_have_images_of_their_own_and_share_the_files() {
    let app = TestApp::start().await;
    make_project(&app, "own", &[]).await;
    make_project(&app, "shared", &[("features.images", "false")]).await;
    let (ctx, own) = (root(), root().in_project("own"));
    let fingerprint = bring(&app, &ctx, "1", ImportRequest::default()).await;
    assert_eq!(list(&app, &root().in_project("shared")).await.unwrap().len(), 1);
    assert!(list(&app, &own).await.unwrap().is_empty());
    bring(&app, &own, "1", ImportRequest::default()).await;
    delete(&app, &ctx, &fingerprint)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    assert_eq!(
        names(&app.paths.images()),
        std::slice::from_ref(&fingerprint),
        "the other project needs it"
    );
    delete(&app, &own, &fingerprint)
        .await
        .unwrap()
        .outcome()
        .await
        .unwrap();
    assert!(names(&app.paths.images()).is_empty());
    assert!(
        list(&app, &ctx.in_project("nosuch"))
            .await
            .unwrap_err()
            .text()
            .ends_with("Project not found")
    );
    assert!(holder(&app, &restricted(&["own"])).await.is_ok());
    assert!(
        holder(&app, &restricted(&["shared"])).await.is_err(),
        "the default project's images"
    );
}

#[tokio::test]
async fn an_instance_gets_the_image_that_it_names() {
    let app = TestApp::start().await;
    let ctx = root();
    let fingerprint = bring(&app, &ctx, "1", ImportRequest::default()).await;
    aliases::create(&app, &ctx, alias("bb", &fingerprint))
        .await
        .unwrap();
    let os = |value: &str| BTreeMap::from([("os".to_owned(), value.to_owned())]);
    for (alias, prefix, properties, wanted) in [
        ("bb", "", os("nosuch"), "1"),
        ("", &fingerprint[..8], BTreeMap::new(), "1"),
        ("", "", os("BusyBox"), "1"),
        ("", "", os("nosuch"), "No matching image could be found"),
        ("nosuch", "", BTreeMap::new(), "Image alias not found"),
        ("", "ffff", BTreeMap::new(), "Image not found"),
        (
            "",
            "",
            BTreeMap::new(),
            "Must specify one of alias, fingerprint or properties for init from image",
        ),
    ] {
        let mut tx = app.cluster.read().await.unwrap();
        let found = resolve(&mut tx, "default", alias, prefix, &properties).await;
        let text = found.map_or_else(|error| error.text(), |_| "1".to_owned());
        assert_eq!(text, wanted);
    }

    let post = StoragePoolsPost {
        name: "p1".into(),
        driver: "dir".into(),
        ..StoragePoolsPost::default()
    };
    storage_pools::create(&app, &ctx, post).await.unwrap();
    let pool = app.pools.get("p1").unwrap();
    let (reading, skipped) = prepare(&app, &pool, &fingerprint, Watch::none()).await.unwrap();
    assert_eq!(skipped, Some(Vec::new()));
    let deleting = delete(&app, &ctx, &fingerprint).await.unwrap();
    tokio::task::yield_now().await;
    assert!(pool.has_image(&fingerprint).await.unwrap(), "somebody uses it");
    drop(reading);
    deleting.outcome().await.unwrap();
    assert!(!pool.has_image(&fingerprint).await.unwrap());
    assert!(prepare(&app, &pool, &fingerprint, Watch::none()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn bringing_in_and_deleting_are_whole_at_every_step() {
    let app = TestApp::start().await;
    let ctx = root();
    let is_clean = async || {
        assert!(names(&app.paths.images()).is_empty());
        assert!(list(&app, &ctx).await.unwrap().is_empty());
        assert!(aliases::list(&app, &ctx).await.unwrap().is_empty());
    };
    let remove = async || {
        for image in list(&app, &ctx).await.unwrap() {
            delete(&app, &ctx, &image.fingerprint)
                .await
                .unwrap()
                .outcome()
                .await
                .unwrap();
        }
    };
    // Works are made by a plain function, so the uploads are written before.
    let make = || {
        let bytes = bytes_of("1");
        let received = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(Upload::unified(&app, stream(bytes)))
        });
        let alias = ImageAlias {
            name: "a".into(),
            ..ImageAlias::default()
        };
        let request = ImportRequest {
            aliases: vec![alias],
            ..ImportRequest::default()
        };
        works::Import::new("default".into(), received.unwrap(), request)
    };
    testing::every_step_fails(&app, &ctx, &make, &is_clean).await;
    // A work that is not run holds on to its upload, and nothing else.
    let is_untouched = async || {
        assert_eq!(names(&app.paths.images()).len(), 1);
        assert!(list(&app, &ctx).await.unwrap().is_empty());
    };
    testing::every_undo_repeats(&app, &ctx, &make, &is_untouched).await;
    testing::death_at_every_step(&app, &ctx, &make, &remove, &is_clean).await;
    let fingerprint = bring(&app, &ctx, "1", ImportRequest::default()).await;
    let again = || works::Delete::new("default".into(), fingerprint.clone());
    let is_there_or_gone = async || {
        let files = names(&app.paths.images()).len();
        let rows = list(&app, &ctx).await.unwrap().len();
        assert!(rows == 1 || (rows, files) == (0, 0), "{rows} rows, {files} files");
    };
    testing::death_at_every_step(&app, &ctx, &again, &async || (), &is_there_or_gone).await;
    is_clean().await;
}

#[tokio::test]
async fn a_newer_image_takes_the_others_place_whenever_the_daemon_dies() {
    let app = TestApp::start().await;
    let ctx = root();
    let old = bring(&app, &ctx, "old", ImportRequest::default()).await;
    let new = bring(&app, &ctx, "new", ImportRequest::default()).await;
    let alias = ImageAliasesPost {
        name: "follow".into(),
        target: old.clone(),
        ..ImageAliasesPost::default()
    };
    aliases::create(&app, &ctx, alias).await.unwrap();
    let make = || refresh::Replace::new("default", &old, &new);
    let is_one_or_both = async || {
        let target = aliases::get(&app, &ctx, "follow").await.unwrap().value.target;
        let mut held: Vec<String> = list(&app, &ctx)
            .await
            .unwrap()
            .into_iter()
            .map(|image| image.fingerprint)
            .collect();
        held.retain(|fingerprint| *fingerprint == target);
        assert_eq!(held, [target], "an alias of nothing");
    };
    testing::death_at_every_step(&app, &ctx, &make, &async || (), &is_one_or_both).await;
    assert_eq!(
        aliases::get(&app, &ctx, "follow").await.unwrap().value.target,
        new
    );
    assert_eq!(names(&app.paths.images()), [new]);
}

#[tokio::test]
async fn only_fetched_images_that_nobody_used_are_forgotten() {
    let app = TestApp::start().await;
    let ctx = root();
    let fetched = |cached| ImportRequest {
        origin: Some(Origin {
            source: Wish::default(),
            auto_update: false,
            cached,
            image: None,
        }),
        ..ImportRequest::default()
    };
    let used = bring(&app, &ctx, "used", fetched(true)).await;
    bring(&app, &ctx, "unused", fetched(true)).await;
    let own = bring(&app, &ctx, "own", fetched(false)).await;
    let mut tx = app.cluster.begin().await.unwrap();
    let later = app.clock.now() + jiff::SignedDuration::from_hours(11 * 24);
    rows::set_last_used(&mut tx, &used, later).await.unwrap();
    tx.commit().await.unwrap();
    tasks::prune(&app, later).await.unwrap();
    let mut left = [used, own];
    left.sort();
    assert_eq!(names(&app.paths.images()), left);
}

#[tokio::test]
async fn an_announced_image_may_be_sent_by_who_knows_the_secret() {
    let app = TestApp::start().await;
    let ctx = root();
    let content = upload(&app, "pushed").await;
    let post = ImagesPost {
        properties: [("said".to_owned(), "before".to_owned())].into(),
        source: Some(ImagesPostSource {
            mode: "push".into(),
            fingerprint: content.fingerprint.clone(),
            ..ImagesPostSource::default()
        }),
        ..ImagesPost::default()
    };
    let token = import_from(&app, &ctx, post).await.unwrap();
    let secret = token.metadata()["secret"].as_str().unwrap().to_owned();
    let mut request = ImportRequest {
        fingerprint: content.fingerprint.clone(),
        ..ImportRequest::default()
    };
    let refused = sender(&app, &stranger(), &mut request, "guessed")
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    // What lets one send does not let one see.
    assert!(
        get(&app, &stranger(), &content.fingerprint, Some(&secret))
            .await
            .is_err()
    );
    let sender = sender(&app, &stranger(), &mut request, &secret).await.unwrap();
    let operation = import(&app, &sender, Ok(content), request).await.unwrap();
    operation.outcome().await.unwrap();
    assert_eq!(operation.metadata()["secret"], secret.as_str());
    assert_eq!(list(&app, &ctx).await.unwrap()[0].properties["said"], "before");
}
