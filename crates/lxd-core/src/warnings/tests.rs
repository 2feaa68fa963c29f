//! Warnings, as clients of the reference know them.

use lxd_model::ErrorKind;
use serde_json::json;

use super::*;
use crate::testing::{TestApp, restricted, root};

#[tokio::test]
async fn a_warning_lives() {
    let app = TestApp::start().await;
    let mut tx = app.cluster.begin().await.unwrap();
    for host in rows::list(&mut tx, None).await.unwrap() {
        rows::delete(&mut tx, &host.uuid).await.unwrap();
    }
    tx.commit().await.unwrap();
    for message in ["one", "two"] {
        let told = [(WarningType::AppArmorNotAvailable, message.to_owned())];
        warn(&app, &told).await.unwrap();
    }
    let all = list(&app, &root(), None).await.unwrap();
    assert_eq!(all.len(), 1);
    let warning = &all[0];
    assert_eq!(
        (
            warning.count,
            warning.last_message.as_str(),
            warning.status.as_str()
        ),
        (2, "two", "new")
    );
    assert_eq!(
        (warning.r#type.as_str(), warning.severity.as_str()),
        ("AppArmor support has been disabled", "low")
    );
    assert_eq!(
        (warning.location.as_str(), warning.project.as_str()),
        ("none", "")
    );
    assert!(list(&app, &root(), Some("default")).await.unwrap().is_empty());

    let uuid = &warning.uuid;
    patch(&app, &root(), uuid, json!({"status": "acknowledged"}), None)
        .await
        .unwrap();
    assert_eq!(
        get(&app, &root(), uuid).await.unwrap().value.status,
        "acknowledged"
    );
    let set = async |status: &str| {
        update(
            &app,
            &root(),
            uuid,
            WarningPut {
                status: status.into(),
            },
            None,
        )
        .await
    };
    let text = |error: Error| (error.kind(), error.text());
    assert_eq!(
        set("resolved").await.map_err(text).unwrap_err(),
        (
            ErrorKind::Forbidden,
            "Status may only be set to \"acknowledge\" or \"new\"".into()
        )
    );
    assert_eq!(
        set("foo").await.map_err(text).unwrap_err(),
        (ErrorKind::BadRequest, "Invalid warning type \"foo\"".into())
    );
    set("new").await.unwrap();
    settle(&app, Timestamp::now() + DAY).await.unwrap();
    assert_eq!(get(&app, &root(), uuid).await.unwrap().value.status, "resolved");
    delete(&app, &root(), uuid).await.unwrap();
    let gone = get(&app, &root(), uuid)
        .await
        .map(drop)
        .map_err(text)
        .unwrap_err();
    assert_eq!(gone, (ErrorKind::NotFound, "Warning not found".into()));
    assert!(delete(&app, &root(), uuid).await.is_err());
    assert!(list(&app, &restricted(&["default"]), None).await.is_err());
}

#[tokio::test]
async fn tests_may_add_what_is_known() {
    let app = TestApp::start().await;
    let add = async |value| add_for_test(&app, &root(), serde_json::from_value(value).unwrap()).await;
    add(json!({"type_code": 1, "message": "hello", "project": "default", "entity_type_code": 3, "entity_id": 1}))
        .await
        .unwrap();
    let all = list(&app, &root(), Some("default")).await.unwrap();
    assert_eq!(
        (all[0].entity_url.as_str(), all[0].location.as_str()),
        ("/1.0/projects/default", "")
    );
    for (value, text) in [
        (
            json!({"type_code": 999, "project": "default"}),
            "Failed to create warning: Unknown warning type code 999",
        ),
        (
            json!({"type_code": 1, "project": "nope"}),
            "Failed to create warning: Unknown project \"nope\"",
        ),
    ] {
        assert_eq!(add(value).await.unwrap_err().text(), text);
    }
}
