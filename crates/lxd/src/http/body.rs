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
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::complaints::{self, Flaw};
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
        return Err(match complaints::flaw(body) {
            Ok(_) => Failure::bad_request(complaints::not_an_object(name_of::<T>(), "array")),
            Err(flaw) => flawed(body, flaw),
        });
    }
    let mut decoder = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize(&mut decoder) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Err(flaw) = complaints::flaw(body) {
        return Err(flawed(body, flaw));
    }
    let error = match without_nulls(body).map(serde_path_to_error::deserialize) {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) => error,
        None => error,
    };
    let message = error.inner().to_string();
    let known = complaints::wrong_type(name_of::<T>(), error.path(), &message).or_else(|| {
        let value: Value = serde_json::from_slice(body).ok()?;
        let is_time = error.path().to_string() == "expires_at";
        complaints::wrong_time(value.get("expires_at").filter(|_| is_time)?.as_str()?)
    });
    Err(known.map_or_else(
        || mistyped(&error.path().to_string(), &message),
        Failure::bad_request,
    ))
}

/// Decodes JSON of which nothing may follow: a few requests of the reference's are read whole.
pub(crate) fn json_alone<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    match complaints::flaw_of_all(body) {
        Ok(()) => json(body),
        Err(Flaw::Ends) => Err(Failure::bad_request("unexpected end of JSON input")),
        Err(flaw) => Err(flawed(body, flaw)),
    }
}

fn flawed(body: &[u8], flaw: Flaw) -> Failure {
    Failure::bad_request(match flaw {
        Flaw::Ends if body.iter().all(u8::is_ascii_whitespace) => "EOF".to_owned(),
        Flaw::Ends => "unexpected EOF".to_owned(),
        Flaw::At(text) => text,
    })
}

fn mistyped(path: &str, message: &str) -> Failure {
    let path = match path {
        "." => String::new(),
        path => format!("field {path:?}: "),
    };
    Failure::bad_request(format!("Invalid JSON: {path}{message}"))
}

/// The name of a type without the way to it.
fn name_of<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

/// A body in which nothing means what it means to the reference: a field that was not sent, or an empty text in a map.
fn without_nulls(body: &[u8]) -> Option<Value> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let mut value = values.next()?.ok()?;
    let Value::Object(fields) = &mut value else {
        return value.is_null().then(|| json!({}));
    };
    fields.retain(|_, field| !field.is_null());
    for (name, empty) in [
        ("config", Value::from("")),
        ("environment", Value::from("")),
        ("devices", json!({})),
    ] {
        let Some(Value::Object(entries)) = fields.get_mut(name) else {
            continue;
        };
        entries
            .values_mut()
            .filter(|entry| entry.is_null())
            .for_each(|entry| *entry = empty.clone());
    }
    Some(value)
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
    use lxd_api::instance_snapshots::InstanceSnapshotsPost;
    use lxd_api::instances::InstancesPost;
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
        let into = "json: cannot unmarshal";
        let field = "into Go struct field ProfilePut";
        for (body, wanted) in [
            ("[]", format!("{into} array into Go value of type api.ProfilePut")),
            ("7", format!("{into} number into Go value of type api.ProfilePut")),
            (
                "\"x\"",
                format!("{into} string into Go value of type api.ProfilePut"),
            ),
            (
                r#"{"description":1.5}"#,
                format!("{into} number {field}.description of type string"),
            ),
            (
                r#"{"description":{}}"#,
                format!("{into} object {field}.description of type string"),
            ),
            (
                r#"{"config":[]}"#,
                format!("{into} array {field}.config of type map[string]string"),
            ),
            (
                r#"{"config":{"user.a":3}}"#,
                format!("{into} number {field}.config of type string"),
            ),
            (
                r#"{"devices":true}"#,
                format!("{into} bool {field}.devices of type map[string]map[string]string"),
            ),
            (
                r#"{"devices":{"a":1}}"#,
                format!("{into} number {field}.devices of type map[string]string"),
            ),
            (
                r#"{"devices":{"a":{"b":1}}}"#,
                format!("{into} number {field}.devices of type string"),
            ),
        ] {
            assert_eq!(text(body), wanted, "{body}");
        }
        let fails = |body: &str| {
            json::<InstancesPost>(body.as_bytes())
                .unwrap_err()
                .text()
                .to_owned()
        };
        let wanted = format!("{into} number into Go struct field InstanceSource.source.type of type string");
        assert_eq!(fails(r#"{"source":{"type":1}}"#), wanted);
        let wanted =
            format!("{into} string into Go struct field InstancesPost.source of type api.InstanceSource");
        assert_eq!(fails(r#"{"source":"none"}"#), wanted);
        let wanted = format!("{into} string into Go struct field InstancesPost.profiles of type []string");
        assert_eq!(fails(r#"{"profiles":"default"}"#), wanted);
    }

    #[test]
    fn a_misplaced_character_is_named_with_its_place() {
        for (body, wanted) in [
            (
                "{]",
                "invalid character ']' looking for beginning of object key string",
            ),
            (
                "{'a':1}",
                r"invalid character '\'' looking for beginning of object key string",
            ),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":1 "b":2}"#,
                "invalid character '\"' after object key:value pair",
            ),
            (r#"{"a":01}"#, "invalid character '1' after object key:value pair"),
            (r#"{"a":[1 2]}"#, "invalid character '2' after array element"),
            (
                r#"{"a":trve}"#,
                "invalid character 'v' in literal true (expecting 'u')",
            ),
            (r#"{"a":-x}"#, "invalid character 'x' in numeric literal"),
            (
                r#"{"a":1.x}"#,
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                r#"{"a":1ex}"#,
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("{\"a\":\"x\ny\"}", r"invalid character '\n' in string literal"),
            (r#"{"a":"\q"}"#, "invalid character 'q' in string escape code"),
            (
                r#"{"a":"\u00z"}"#,
                r"invalid character 'z' in \u hexadecimal character escape",
            ),
            ("é", "invalid character 'Ã' looking for beginning of value"),
            (r#"{"a":"#, "unexpected EOF"),
            ("[1", "unexpected EOF"),
        ] {
            assert_eq!(text(body), wanted, "{body}");
        }
        assert_eq!(text(&"[".repeat(1 << 20)), "exceeded max depth");
        let alone = |body: &str| {
            json_alone::<ProfilePut>(body.as_bytes())
                .unwrap_err()
                .text()
                .to_owned()
        };
        assert_eq!(alone(""), "unexpected end of JSON input");
        assert_eq!(alone("{} x"), "invalid character 'x' after top-level value");
    }

    #[test]
    fn a_time_is_told_by_the_part_that_is_missing() {
        let layout = "\"2006-01-02T15:04:05Z07:00\"";
        for (time, rest, part) in [
            ("x", "x\"", "2006"),
            ("2035-01-01", "\"", "T"),
            ("2035-01-01 10:00:00", " 10:00:00\"", "T"),
            ("2035-01-01T10:00:00", "\"", "Z07:00"),
        ] {
            let body = format!("{{\"name\":\"s\",\"expires_at\":\"{time}\"}}");
            let failure = json::<InstanceSnapshotsPost>(body.as_bytes()).unwrap_err();
            let whole = format!("\"{time}\"");
            let wanted = format!("parsing time {whole:?} as {layout:?}: cannot parse {rest:?} as {part:?}");
            assert_eq!(failure.text(), wanted);
        }
    }

    #[test]
    fn nothing_is_what_was_not_sent_or_empty() {
        assert_eq!(json::<ProfilePut>(b"null").unwrap().description, "");
        let put: ProfilePut =
            json(br#"{"description":null,"config":{"user.a":null,"user.b":"1"},"devices":{"d":null}}"#)
                .unwrap();
        assert_eq!(put.config["user.a"], "");
        assert_eq!(put.config["user.b"], "1");
        assert!(put.devices["d"].is_empty());
        assert_eq!(
            text(r#"{"config":{"user.a":null,"user.b":1}}"#),
            "json: cannot unmarshal number into Go struct field ProfilePut.config of type string"
        );
    }

    #[test]
    fn what_nobody_asked_for_is_ignored() {
        let put: ProfilePut =
            json(br#"{"description": "d", "unknown": 4, "config": null} and more"#).unwrap();
        assert_eq!(put.description, "d");
    }
}
