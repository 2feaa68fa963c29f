//! The events stream.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::Daemon;

async fn listen(daemon: &Daemon, query: &str) -> WebSocketStream<UnixStream> {
    let stream = UnixStream::connect(daemon.socket()).await.unwrap();
    let url = format!("ws://lxd/1.0/events{query}");
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

async fn next(events: &mut WebSocketStream<UnixStream>) -> Value {
    loop {
        if let Message::Text(text) = events.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn events_reach_those_who_asked_for_them() {
    let daemon = Daemon::start();
    let mut lifecycle = listen(&daemon, "?type=lifecycle").await;
    let mut logging = listen(&daemon, "?type=logging&all-projects=true").await;
    assert_eq!(
        daemon
            .send("POST", "/1.0/profiles", &json!({"name": "p1"}))
            .status,
        201
    );
    let event = next(&mut lifecycle).await;
    assert_eq!(event["type"], "lifecycle");
    assert_eq!(event["metadata"]["action"], "profile-created");
    assert_eq!(event["metadata"]["source"], "/1.0/profiles/p1");
    assert_eq!(event["metadata"]["requestor"]["protocol"], "unix");
    let event = next(&mut logging).await;
    assert_eq!(event["type"], "logging");
    assert_eq!(event["metadata"]["message"], "Handling API request");
    lifecycle.send(Message::Ping("x".into())).await.unwrap();
    assert!(matches!(lifecycle.next().await, Some(Ok(Message::Pong(_)))));
    lifecycle.close(None).await.unwrap();
}

#[tokio::test]
async fn listeners_hear_of_the_daemons_end() {
    let mut daemon = Daemon::start();
    let mut events = listen(&daemon, "").await;
    let ended = tokio::task::spawn_blocking(move || daemon.end_by(rustix::process::Signal::TERM));
    while let Some(Ok(_)) = events.next().await {}
    assert!(ended.await.unwrap());
}
