//! What listeners get to see.

use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::ctx::Caller;

fn received(subscription: &mut Subscription) -> Vec<Value> {
    let mut all = Vec::new();
    while let Ok(message) = subscription.receiver.try_recv() {
        all.push(serde_json::from_slice(&message).unwrap());
    }
    all
}

#[tokio::test]
async fn events_reach_the_listeners_of_their_project_and_of_all() {
    let hub = Hub::new();
    let mut one = hub.subscribe(Wanted::new(&[EventType::Lifecycle], Some("p1")));
    let mut all = hub.subscribe(Wanted::new(&[EventType::Lifecycle, EventType::Operation], None));
    let profile = Lifecycle::new(Action::ProfileCreated, "/1.0/profiles/x");
    hub.lifecycle("p1", &profile);
    hub.lifecycle("p2", &profile);
    hub.lifecycle("", &profile);
    hub.publish(EventType::Operation, "p1", &"x");
    assert_eq!(received(&mut one).len(), 2);
    assert_eq!(received(&mut all).len(), 4);
}

#[tokio::test]
async fn the_encoding_is_the_references() {
    let hub = Hub::new();
    let mut listener = hub.subscribe(Wanted::new(&[EventType::Lifecycle], None));
    let mut ctx = Ctx::new(Caller::Unix {
        uid: 0,
        username: "root".into(),
    });
    ctx.address = "@".into();
    let event = Lifecycle::new(Action::ProfileRenamed, "/1.0/profiles/qq")
        .with("old_name", "pp")
        .by(&ctx);
    hub.publish_at(EventType::Lifecycle, "default", &event, Time::from_unix(0));
    assert_eq!(
        listener.recv().await.unwrap(),
        concat!(
            r#"{"type":"lifecycle","timestamp":"1970-01-01T00:00:00Z","metadata":{"action":"profile-renamed","#,
            r#""source":"/1.0/profiles/qq","context":{"old_name":"pp"},"#,
            r#""requestor":{"username":"root","protocol":"unix","address":"@"}},"location":"none","project":"default"}"#
        )
    );
}

#[tokio::test]
async fn nobody_listens_after_the_listener_is_gone_or_too_slow() {
    let hub = Hub::new();
    let gone = hub.subscribe(Wanted::new(&[EventType::Logging], None));
    assert!(hub.is_wanted(EventType::Logging));
    drop(gone);
    assert!(!hub.is_wanted(EventType::Logging));

    let mut slow = hub.subscribe(Wanted::new(&[EventType::Logging], None));
    for _ in 0..=BACKLOG {
        hub.publish(EventType::Logging, "", &"x");
    }
    assert!(!hub.is_wanted(EventType::Logging));
    for _ in 0..BACKLOG {
        assert!(slow.recv().await.is_some());
    }
    assert!(slow.recv().await.is_none());
}

#[tokio::test]
async fn what_a_request_may_listen_to() {
    let mut ctx = Ctx::new(Caller::Tls {
        fingerprint: "ab".into(),
        name: "n".into(),
        restricted: true,
        projects: vec!["p".into()],
    });
    ctx.project = "p".into();
    assert_eq!(
        Wanted::from_request(&ctx, None, false).unwrap().types,
        [EventType::Operation, EventType::Lifecycle]
    );
    assert!(Wanted::from_request(&ctx, Some("logging"), false).is_err());
    assert!(Wanted::from_request(&ctx, None, true).is_err());
    let error = Wanted::from_request(&Ctx::daemon("p"), Some("foo"), false).unwrap_err();
    assert_eq!(error.text(), "\"foo\" isn't a supported event type");
}

#[tokio::test]
async fn the_log_is_published_while_somebody_listens() {
    let hub = Hub::new();
    let subscriber = tracing_subscriber::registry().with(log_layer(Arc::clone(&hub)));
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::info!(target: "lxd_core", "unheard");
    let mut listener = hub.subscribe(Wanted::new(&[EventType::Logging], None));
    tracing::warn!(target: "lxd_core", instance = "c1", count = 3, "heard");
    tracing::warn!(target: "hyper", "a library");
    drop(guard);
    let events = received(&mut listener);
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0]["metadata"],
        serde_json::json!({"message": "heard", "level": "warning", "context": {"instance": "c1", "count": "3"}})
    );
}
