//! What instances are answered. Errors are plain text, as with the reference.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use lxd_core::instances::devlxd::{Guest, Topics};
use lxd_core::{App, Caller, Ctx};
use serde::Serialize;

use futures::StreamExt as _;

use crate::api::export_image;
use crate::http::answer::{self, Answer};
use crate::http::error::Failure;
use crate::http::routes::percent_decode;
use crate::http::websocket;

/// Answers a request of the process with these ids.
pub(super) async fn answer(
    app: Arc<App>,
    (pid, uid): (i32, u32),
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    if let Some(clean) = cleaned(&path) {
        return Ok(moved(&clean, request.uri().query()));
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if !is_known(&parts) {
        return Ok(text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let asked = Guest::of_process(&app, pid);
    if asked.as_ref().is_ok_and(|guest| !guest.is_root(uid)) {
        return Ok(text(
            StatusCode::UNAUTHORIZED,
            "Access denied for non-root user\n",
        ));
    }
    let outcome = match asked.and_then(|guest| guest.may_ask().map(|()| guest)) {
        Err(error) => Err(error.into()),
        Ok(guest) => match parts.as_slice() {
            [""] => json(&["/1.0"]),
            ["1.0"] => json(&guest.about()),
            ["1.0", "config"] => json(&guest.keys()),
            ["1.0", "config", key] => value(&guest, key),
            ["1.0", "meta-data"] => Ok(answer::bytes("application/octet-stream", guest.meta_data())),
            ["1.0", "devices"] => json(&guest.devices()),
            ["1.0", "events"] => Ok(events(&app, &guest, request)),
            ["1.0", "images", fingerprint, "export"] => export(&app, &guest, fingerprint, &request).await,
            _ => Ok(text(StatusCode::NOT_FOUND, "404 page not found\n")),
        },
    };
    Ok(outcome.unwrap_or_else(|failure: Failure| text(failure.status(), &format!("{}\n", failure.text()))))
}

/// Whether somebody answers at a path, whoever asks.
fn is_known(parts: &[&str]) -> bool {
    match parts {
        [""] | ["1.0"] | ["1.0", "config" | "meta-data" | "devices" | "events"] => true,
        ["1.0", "config", key] => !key.is_empty(),
        ["1.0", "images", fingerprint, "export"] => !fingerprint.is_empty(),
        _ => false,
    }
}

/// A path without empty parts and dots, if it has any.
fn cleaned(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && !parts.is_empty() {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

fn moved(path: &str, query: Option<&str>) -> Answer {
    let location = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut answer = http::Response::new(http_body_util::Either::Left(Default::default()));
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Answer, Failure> {
    let mut body = serde_json::to_vec(value).map_err(Failure::encoding)?;
    body.push(b'\n');
    Ok(answer::bytes("application/json", body))
}

fn value(guest: &Guest, key: &str) -> Result<Answer, Failure> {
    let key = percent_decode(key, false).ok_or_else(|| Failure::bad_request("not a key"))?;
    Ok(answer::bytes("application/octet-stream", guest.value(&key)?))
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = answer::bytes("text/plain; charset=utf-8", text.to_owned());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A public image, for instances that may have images.
async fn export(
    app: &Arc<App>,
    guest: &Guest,
    fingerprint: &str,
    request: &Request<Incoming>,
) -> Result<Answer, Failure> {
    guest.require_images()?;
    let ctx = Ctx::new(Caller::Untrusted { certificate: None });
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let image = export_image(app, &ctx, (fingerprint, None), range).await;
    // From here on the reference answers as its API does.
    Ok(image.unwrap_or_else(Failure::into_answer))
}

/// Events over a websocket, or line by line where none is asked for.
fn events(app: &Arc<App>, guest: &Guest, request: Request<Incoming>) -> Answer {
    let types = request.uri().query().unwrap_or_default();
    let types = types.split('&').find_map(|pair| pair.strip_prefix("type="));
    let has = |word: &str| match types.filter(|types| !types.is_empty()) {
        Some(types) => types.split(',').any(|asked| asked == word),
        None => true,
    };
    let topics = Topics {
        config: has("config"),
        device: has("device"),
    };
    let events = guest.events(topics);
    let (mut parts, _) = request.into_parts();
    let mut upgrade = parts.extensions.remove();
    if parts.headers.contains_key(http::header::SEC_WEBSOCKET_KEY) {
        return match websocket::handshake_of(&parts.headers, &mut upgrade) {
            Ok(handshake) => {
                let shutdown = app.shutdown.clone();
                handshake.then(async move |connection| {
                    tokio::select! {
                        () = websocket::send_all(connection, events) => {}
                        () = shutdown.cancelled() => {}
                    }
                })
            }
            Err(refusal) => *refusal,
        };
    }
    let lines = events.map(|line: Bytes| Ok(line));
    let mut answer = answer::stream("application/json", None, lines);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_before_anybody_is_asked() {
        for (path, clean) in [
            ("//1.0", Some("/1.0")),
            ("/1.0//config/", Some("/1.0/config/")),
            ("/1.0/./x/../config", Some("/1.0/config")),
            ("/..", Some("/")),
            ("/", None),
            ("/1.0/", None),
            ("/1.0/config/user.x", None),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
        let known = |path: &str| is_known(&path.split('/').skip(1).collect::<Vec<_>>());
        assert!(known("/") && known("/1.0/config/user.x") && known("/1.0/images/a/export"));
        assert!(!known("/1.0/") && !known("/1.0/config/") && !known("/1.0/images//export"));
    }
}
