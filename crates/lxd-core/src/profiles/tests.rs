//! Profiles, as clients of the reference know them.

use lxd_model::ErrorKind;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::testing::{TestApp, next_event, restricted, root};

fn post(value: Value) -> ProfilesPost {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_profile_lives() {
    let app = TestApp::start().await;
    let mut listener = app.listen();
    let made = create(
        &app,
        &root(),
        post(json!({"name": "a b", "config": {"user.x": "1"}})),
    )
    .await
    .unwrap();
    assert_eq!(made, "/1.0/profiles/a%20b");
    let event = next_event(&mut listener).await;
    assert_eq!(event["metadata"]["action"], "profile-created");
    assert_eq!(event["metadata"]["source"], "/1.0/profiles/a%20b");
    assert_eq!(event["metadata"]["requestor"]["username"], "root");

    let seen = get(&app, &root(), "a b").await.unwrap();
    patch(
        &app,
        &root(),
        "a b",
        json!({"config": {"user.y": "2"}, "description": "d"}),
        Some(&seen.etag),
    )
    .await
    .unwrap();
    let stale = patch(&app, &root(), "a b", json!({}), Some(&seen.etag))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
    let now = get(&app, &root(), "a b").await.unwrap().value;
    assert_eq!(
        serde_json::to_value(&now).unwrap(),
        json!({
            "config": {"user.x": "1", "user.y": "2"}, "description": "d", "devices": {}, "name": "a b", "used_by": []
        })
    );

    let renamed = rename(&app, &root(), "a b", "c").await.unwrap();
    assert_eq!(renamed, "/1.0/profiles/c");
    update(&app, &root(), "c", ProfilePut::default(), None)
        .await
        .unwrap();
    assert!(get(&app, &root(), "c").await.unwrap().value.config.is_empty());
    delete(&app, &root(), "c").await.unwrap();
    assert_eq!(urls(&app, &root()).await.unwrap(), ["/1.0/profiles/default"]);
}

#[tokio::test]
async fn refusals_read_as_the_references() {
    let app = TestApp::start().await;
    let disk = json!({"x": {"type": "disk"}});
    for (body, kind, text) in [
        (json!({}), ErrorKind::BadRequest, "No name provided"),
        (
            json!({"name": "default"}),
            ErrorKind::Internal,
            "Error inserting \"default\" into database: The profile already exists",
        ),
        (
            json!({"name": "a/b"}),
            ErrorKind::BadRequest,
            "Profile names may not contain slashes",
        ),
        (
            json!({"name": ".."}),
            ErrorKind::BadRequest,
            "Invalid profile name \"..\"",
        ),
        (
            json!({"name": "a", "config": {"foo": "x"}}),
            ErrorKind::BadRequest,
            "Unknown configuration key: foo",
        ),
        (
            json!({"name": "a", "devices": disk}),
            ErrorKind::BadRequest,
            "Device validation failed for \"x\": Disk entry is missing the required \"source\" or \"path\" property",
        ),
    ] {
        let error = create(&app, &root(), post(body.clone())).await.unwrap_err();
        assert_eq!((error.kind(), error.text().as_str()), (kind, text), "{body}");
    }
    let text = |error: Error| (error.kind(), error.text());
    let missing = get(&app, &root(), "nope")
        .await
        .map(drop)
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        missing,
        (ErrorKind::NotFound, "Fetch profile: Profile not found".into())
    );
    let missing = update(&app, &root(), "nope", ProfilePut::default(), None)
        .await
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        missing,
        (
            ErrorKind::NotFound,
            "Failed to retrieve profile \"nope\": Profile not found".into()
        )
    );
    let missing = delete(&app, &root(), "nope").await.map_err(text).unwrap_err();
    assert_eq!(missing, (ErrorKind::NotFound, "Profile not found".into()));
    let fixed = delete(&app, &root(), "default").await.map_err(text).unwrap_err();
    assert_eq!(
        fixed,
        (
            ErrorKind::Forbidden,
            "The \"default\" profile cannot be deleted".into()
        )
    );
    let fixed = rename(&app, &root(), "default", "x")
        .await
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        fixed,
        (
            ErrorKind::Forbidden,
            "The \"default\" profile cannot be renamed".into()
        )
    );
    create(&app, &root(), post(json!({"name": "aa"}))).await.unwrap();
    let taken = rename(&app, &root(), "aa", "default")
        .await
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        taken,
        (ErrorKind::Internal, "Name \"default\" already in use".into())
    );
    let nowhere = list(&app, &root().in_project("nope"))
        .await
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        nowhere,
        (
            ErrorKind::NotFound,
            "Failed loading project \"nope\": Project not found".into()
        )
    );
}

#[tokio::test]
async fn projects_share_or_have_their_own() {
    let app = TestApp::start().await;
    for (name, own) in [("own", "true"), ("shared", "false")] {
        let body = json!({"name": name, "config": {"features.profiles": own}});
        crate::projects::create(&app, &root(), serde_json::from_value(body).unwrap())
            .await
            .unwrap();
    }
    create(&app, &root().in_project("own"), post(json!({"name": "z"})))
        .await
        .unwrap();
    let urls_of = async |project: &str| urls(&app, &root().in_project(project)).await.unwrap();
    assert_eq!(
        urls_of("own").await,
        ["/1.0/profiles/default?project=own", "/1.0/profiles/z?project=own"]
    );
    assert_eq!(urls_of("shared").await, ["/1.0/profiles/default"]);
    let own = get(&app, &root().in_project("own"), "default")
        .await
        .unwrap()
        .value;
    assert_eq!(own.description, "Default LXD profile for project own");

    assert!(list(&app, &restricted(&["own"])).await.is_ok());
    assert!(
        list(&app, &restricted(&["own"]).in_project("default"))
            .await
            .is_err()
    );
    // What a project shares it may use, and not change.
    assert!(list(&app, &restricted(&["shared"])).await.is_ok());
    let error = create(&app, &restricted(&["shared"]), post(json!({"name": "y"})))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

/// Instances that refuse, or fail to follow, what a description says.
#[derive(Default)]
struct Instances(Mutex<Vec<ProfileChange>>);

impl ProfileUsers for Instances {
    fn check<'a>(&'a self, _: &'a Ctx, change: &'a ProfileChange) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match change.new.description.as_str() {
                "refuse" => Err(Error::refused(
                    "At least one instance relies on this profile's root disk device",
                )),
                _ => Ok(()),
            }
        })
    }

    fn follow<'a>(
        &'a self,
        _: &'a Ctx,
        change: &'a ProfileChange,
    ) -> BoxFuture<'a, Result<Vec<(String, String, Error)>>> {
        Box::pin(async move {
            self.0.lock().push(change.clone());
            let failed = ("default".to_owned(), "c1".to_owned(), Error::internal("no"));
            Ok(if change.new.description == "fail" {
                vec![failed]
            } else {
                Vec::new()
            })
        })
    }
}

#[tokio::test]
async fn instances_follow_or_refuse() {
    let app = TestApp::start().await;
    let users = Arc::new(Instances::default());
    *app.profile_users.write() = Some(Arc::clone(&users) as Arc<dyn ProfileUsers>);
    let describe =
        async |text: &str| patch(&app, &root(), "default", json!({"description": text}), None).await;
    describe("fine").await.unwrap();
    assert_eq!(users.0.lock().last().unwrap().new.description, "fine");
    assert!(describe("refuse").await.is_err());
    assert_eq!(
        get(&app, &root(), "default").await.unwrap().value.description,
        "fine"
    );
    let error = describe("fail").await.unwrap_err();
    assert!(
        error
            .text()
            .contains("(profile change still saved):\n - Project: default, Instance: c1: no")
    );
    assert_eq!(
        get(&app, &root(), "default").await.unwrap().value.description,
        "fail"
    );
}
