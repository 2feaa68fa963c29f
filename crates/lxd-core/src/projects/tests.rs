//! Projects, as clients of the reference know them.

use lxd_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing::{TestApp, next_event, restricted, root};

async fn make(app: &Arc<App>, body: Value) -> Result<String> {
    create(app, &root(), serde_json::from_value(body).unwrap()).await
}

#[tokio::test]
async fn a_project_lives() {
    let app = TestApp::start().await;
    let mut listener = app.listen();
    assert_eq!(make(&app, json!({"name": "p"})).await.unwrap(), "/1.0/projects/p");
    let event = next_event(&mut listener).await;
    assert_eq!(
        (&event["metadata"]["action"], &event["project"]),
        (&json!("project-created"), &json!("p"))
    );
    let made = get(&app, &root(), "p").await.unwrap();
    assert_eq!(
        serde_json::to_value(&made.value).unwrap(),
        json!({
            "config": {"features.images": "true", "features.profiles": "true", "features.storage.volumes": "true"},
            "description": "", "name": "p", "used_by": ["/1.0/profiles/default?project=p"],
        })
    );
    patch(
        &app,
        &root(),
        "p",
        json!({"config": {"limits.cpu": "5"}}),
        Some(&made.etag),
    )
    .await
    .unwrap();
    assert_eq!(get(&app, &root(), "p").await.unwrap().value.config.len(), 4);
    let state = state(&app, &root(), "p").await.unwrap();
    assert_eq!(
        (state.resources["cpu"].limit, state.resources["memory"].limit),
        (5, -1)
    );
    assert_eq!(state.resources.len(), 8);

    let operation = rename(&app, &root(), "p", "q").unwrap();
    operation.outcome().await.unwrap();
    let names: Vec<String> = list(&app, &root())
        .await
        .unwrap()
        .into_iter()
        .map(|p| p.name)
        .collect();
    assert_eq!(names, ["default", "q"]);
    let profile = crate::profiles::get(&app, &root().in_project("q"), "default")
        .await
        .unwrap()
        .value;
    assert_eq!(profile.description, "Default LXD profile for project q");
    delete(&app, &root(), "q").await.unwrap();
    assert_eq!(urls(&app, &root()).await.unwrap(), ["/1.0/projects/default"]);
}

#[tokio::test]
async fn refusals_read_as_the_references() {
    let app = TestApp::start().await;
    make(&app, json!({"name": "full"})).await.unwrap();
    let profile = serde_json::from_value(json!({"name": "z"})).unwrap();
    crate::profiles::create(&app, &root().in_project("full"), profile)
        .await
        .unwrap();
    for (body, kind, text) in [
        (json!({}), ErrorKind::BadRequest, "No name provided"),
        (
            json!({"name": "default"}),
            ErrorKind::Conflict,
            "Failed creating project \"default\": Failed adding database record: This \"projects\" entry already exists",
        ),
        (
            json!({"name": "a_b"}),
            ErrorKind::BadRequest,
            "Project names may not contain underscores",
        ),
        (
            json!({"name": "q", "config": {"foo": "x"}}),
            ErrorKind::BadRequest,
            "Invalid project configuration key \"foo\"",
        ),
        (
            json!({"name": "q", "config": {"features.images": "maybe"}}),
            ErrorKind::BadRequest,
            "Invalid project configuration key \"features.images\" value: Invalid value for a boolean \"maybe\"",
        ),
    ] {
        let error = make(&app, body.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.text().as_str()), (kind, text), "{body}");
    }
    let text = |error: Error| (error.kind(), error.text());
    let off = json!({"config": {"features.images": "false"}});
    let fixed = patch(&app, &root(), "full", off.clone(), None)
        .await
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        fixed,
        (
            ErrorKind::BadRequest,
            "Project feature \"features.images\" cannot be disabled on non-empty projects".into()
        )
    );
    let fixed = patch(&app, &root(), "default", off, None)
        .await
        .map_err(text)
        .unwrap_err();
    assert_eq!(
        fixed,
        (
            ErrorKind::BadRequest,
            "You can't change the features of the default project".into()
        )
    );
    let fixed = delete(&app, &root(), "default").await.map_err(text).unwrap_err();
    assert_eq!(
        fixed,
        (
            ErrorKind::Forbidden,
            "The 'default' project cannot be deleted".into()
        )
    );
    let used = delete(&app, &root(), "full").await.map_err(text).unwrap_err();
    assert_eq!(
        used,
        (ErrorKind::Internal, "Only empty projects can be removed".into())
    );
    let missing = delete(&app, &root(), "nope").await.map_err(text).unwrap_err();
    assert_eq!(
        missing,
        (
            ErrorKind::NotFound,
            "Fetch project \"nope\": Project not found".into()
        )
    );
    for (name, new_name, text) in [
        ("nope", "x", "Failed loading project \"nope\": Project not found"),
        ("full", "x", "Only empty projects can be renamed"),
        ("full", "default", "A project named \"default\" already exists"),
    ] {
        let operation = rename(&app, &root(), name, new_name).unwrap();
        assert_eq!(operation.outcome().await.unwrap_err().text(), text);
    }
    assert!(rename(&app, &root(), "default", "x").is_err());
}

#[tokio::test]
async fn the_default_profile_comes_and_goes_with_the_feature() {
    let app = TestApp::start().await;
    make(
        &app,
        json!({"name": "p", "config": {"features.profiles": "false"}}),
    )
    .await
    .unwrap();
    let used = async || get(&app, &root(), "p").await.unwrap().value.used_by;
    assert!(used().await.is_empty());
    patch(
        &app,
        &root(),
        "p",
        json!({"config": {"features.profiles": "true"}}),
        None,
    )
    .await
    .unwrap();
    assert_eq!(used().await, ["/1.0/profiles/default?project=p"]);
    patch(
        &app,
        &root(),
        "p",
        json!({"config": {"features.profiles": "false"}}),
        None,
    )
    .await
    .unwrap();
    assert!(used().await.is_empty());
}

#[tokio::test]
async fn restricted_clients_see_their_projects() {
    let app = TestApp::start().await;
    make(&app, json!({"name": "p"})).await.unwrap();
    let ctx = restricted(&["p"]);
    assert_eq!(urls(&app, &ctx).await.unwrap(), ["/1.0/projects/p"]);
    assert_eq!(
        get(&app, &ctx, "default").await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    let lifted = patch(&app, &ctx, "p", json!({"config": {"restricted": "false"}}), None).await;
    assert_eq!(lifted.unwrap_err().kind(), ErrorKind::Forbidden);
}
