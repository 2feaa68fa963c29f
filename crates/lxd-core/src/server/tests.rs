//! The server's configuration and what follows it.

use futures::future::BoxFuture;
use lxd_model::ErrorKind;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::testing::{TestApp, next_event, restricted, root};

fn put(value: Value) -> ServerPut {
    serde_json::from_value(json!({ "config": value })).unwrap()
}

#[tokio::test]
async fn configuration_survives_a_restart_and_secrets_are_not_shown() {
    let app = TestApp::start().await;
    let mut listener = app.listen();
    let wanted = json!({"core.https_address": "127.0.0.1:1", "core.trust_password": "foo", "user.a": "1"});
    patch(&app, &root(), put(wanted), None).await.unwrap();
    let event = next_event(&mut listener).await;
    assert_eq!(
        (&event["metadata"]["action"], &event["metadata"]["source"]),
        (&json!("config-updated"), &json!("/1.0"))
    );
    let shown = json!({"core.https_address": "127.0.0.1:1", "core.trust_password": true, "user.a": "1"});
    assert_eq!(
        serde_json::to_value(get(&app, &root()).await.unwrap().value.config).unwrap(),
        shown
    );
    let stored = app.config.get("core.trust_password");
    assert!(password::verify(&stored, "foo".into()).await.unwrap());

    let app = app.restart().await;
    let seen = get(&app, &root()).await.unwrap();
    assert_eq!(serde_json::to_value(&seen.value.config).unwrap(), shown);
    assert_eq!(app.config.get("core.trust_password"), stored);
    assert_eq!(
        app.node.config().await.unwrap().keys().collect::<Vec<_>>(),
        ["core.https_address"]
    );
    update(
        &app,
        &root(),
        put(json!({"core.trust_password": true})),
        Some(&seen.etag),
    )
    .await
    .unwrap();
    assert_eq!(
        *app.config.all(),
        [("core.trust_password".to_owned(), stored)].into()
    );
    let stale = update(&app, &root(), put(json!({})), Some(&seen.etag))
        .await
        .unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::PreconditionFailed);
}

#[derive(Default)]
struct Listener(Mutex<String>);

impl ConfigHook for Listener {
    fn follow<'a>(&'a self, change: &'a ConfigChange) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let address = change.after("core.https_address");
            *self.0.lock() = address.to_owned();
            if address.starts_with("1.2.3.4") {
                Err(Error::refused("Cannot listen"))
            } else {
                Ok(())
            }
        })
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_followed_is_not_made() {
    let app = TestApp::start().await;
    let listener = Arc::new(Listener::default());
    app.config.on_change(
        &["core.https_address"],
        Arc::clone(&listener) as Arc<dyn ConfigHook>,
    );
    patch(&app, &root(), put(json!({"core.https_address": ":1"})), None)
        .await
        .unwrap();
    assert_eq!(*listener.0.lock(), ":1");
    let revision = app.config.revision();
    patch(
        &app,
        &root(),
        put(json!({"core.https_address": "1.2.3.4:1", "user.a": "1"})),
        None,
    )
    .await
    .unwrap_err();
    assert_eq!(*listener.0.lock(), ":1");
    assert_eq!(app.config.get("core.https_address"), ":1");
    assert_eq!(app.config.revision(), revision);
    assert!(app.node.config().await.unwrap().values().eq([":1"]));
}

#[tokio::test]
async fn who_sees_and_changes_what() {
    let app = TestApp::start().await;
    patch(&app, &root(), put(json!({"user.a": "1"})), None)
        .await
        .unwrap();
    let seen = get(&app, &restricted(&["default"])).await.unwrap().value;
    assert!(seen.config.is_empty());
    assert_eq!(seen.environment.server_name, app.server_name());
    let refused = patch(&app, &restricted(&["default"]), put(json!({})), None)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert_eq!(untrusted(&app).auth, "untrusted");
}

#[tokio::test]
async fn the_environment_is_that_of_this_machine() {
    let app = TestApp::start().await;
    let environment = get(&app, &root().in_project("p"))
        .await
        .unwrap()
        .value
        .environment;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(environment.kernel_version, release.trim());
    assert_eq!(environment.server_pid, i64::from(std::process::id()));
    assert_eq!(
        (environment.project.as_str(), environment.server.as_str()),
        ("p", "lxd")
    );
    assert_eq!(
        environment.certificate_fingerprint,
        app.server_certificate().fingerprint
    );
    assert!(
        environment
            .storage_supported_drivers
            .iter()
            .any(|driver| driver.name == "dir")
    );
    assert_eq!(environment.kernel_features.len(), 7);
}
