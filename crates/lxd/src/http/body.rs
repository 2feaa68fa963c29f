//! Bodies of requests: JSON with limits on size and time, and uploads that are never whole in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use lxd_model::ErrorKind;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::error::Failure;
use super::linger::Lent;

/// The largest JSON body, in bytes. Cloud-init user data is the largest thing that goes through here.
pub(crate) const JSON_LIMIT: usize = 16 << 20;

/// How long a JSON body may take to arrive.
const JSON_PATIENCE: Duration = Duration::from_mins(1);

/// How long an upload may stand still.
const UPLOAD_PATIENCE: Duration = Duration::from_mins(5);

/// Reads a body of at most the size that JSON may have.
pub(super) async fn whole(body: Lent) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > JSON_LIMIT as u64 {
        return Err(too_large());
    }
    let deadline = Instant::now() + JSON_PATIENCE;
    let mut body = body;
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, body.frame())
            .await
            .map_err(|_| Failure::bad_request("The body of the request did not arrive in time"))?;
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| Failure::bad_request(format!("Failed reading the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + more.len() + data.len() > JSON_LIMIT {
            return Err(too_large());
        }
        if first.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// Decodes JSON. What follows the first value is ignored, and so are unknown fields, as with the reference.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    // A derived struct could also be read from a list of its fields, which nobody means.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Failure::bad_request(
            "Invalid JSON: an object is wanted, not an array",
        ));
    }
    let mut decoder = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        Failure::bad_request(match error.classify() {
            Category::Eof if body.iter().all(u8::is_ascii_whitespace) => "EOF".to_owned(),
            Category::Eof => "unexpected EOF".to_owned(),
            Category::Syntax | Category::Io => format!("Invalid JSON: {error}"),
            Category::Data if path == "." => format!("Invalid JSON: {error}"),
            Category::Data => format!("Invalid JSON: field {path:?}: {error}"),
        })
    })
}

fn too_large() -> Failure {
    Failure::new(
        ErrorKind::TooLarge,
        format!("The body of the request is larger than {JSON_LIMIT} bytes"),
    )
}

/// A body as a stream of chunks. It ends with an error when it stands still for too long or the client goes away.
pub(crate) struct Upload {
    body: Option<Lent>,
    patience: Pin<Box<Sleep>>,
}

impl Upload {
    pub(super) fn new(body: Option<Lent>) -> Self {
        Self {
            body,
            patience: Box::pin(sleep(UPLOAD_PATIENCE)),
        }
    }
}

impl Stream for Upload {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        loop {
            return match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.patience.as_mut().reset(Instant::now() + UPLOAD_PATIENCE);
                    match frame.into_data() {
                        Ok(data) => Poll::Ready(Some(Ok(data))),
                        Err(_) => continue,
                    }
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
                Poll::Ready(None) => {
                    this.body = None;
                    Poll::Ready(None)
                }
                Poll::Pending => {
                    std::task::ready!(this.patience.as_mut().poll(cx));
                    this.body = None;
                    Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lxd_api::profiles::ProfilePut;

    fn text(body: &str) -> String {
        let failure = json::<ProfilePut>(body.as_bytes()).unwrap_err();
        assert_eq!(failure.status(), 400);
        failure.text().to_owned()
    }

    #[test]
    fn wrong_json_is_told_by_what_and_where_it_is() {
        assert_eq!(text(""), "EOF");
        assert_eq!(text("{"), "unexpected EOF");
        assert!(text("[]").contains("not an array"), "{}", text("[]"));
        assert!(text("{]").contains("Invalid JSON"), "{}", text("{]"));
        let wrong = text(r#"{"config": {"user.a": 3}}"#);
        assert!(
            wrong.contains("\"config.user.a\"") && wrong.contains("integer `3`"),
            "{wrong}"
        );
    }

    #[test]
    fn what_nobody_asked_for_is_ignored() {
        let put: ProfilePut =
            json(br#"{"description": "d", "unknown": 4, "config": null} and more"#).unwrap();
        assert_eq!(put.description, "d");
    }
}
