//! `POST /1.0/images`: files in the body, or a request to get an image from somewhere.

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use lxd_api::images::ImageAlias;
use lxd_core::images::{self, ImportRequest, Upload};
use lxd_core::{App, Error};
use lxd_model::ErrorKind;

use crate::http::answer::{self, Outcome};
use crate::http::body::{self, JSON_LIMIT};
use crate::http::error::Failure;
use crate::http::request::Call;
use crate::http::routes::percent_decode;

/// Makes an image.
pub(crate) async fn create(mut call: Call) -> Outcome {
    let mut request = request(&call);
    let secret = call.header("x-lxd-secret").unwrap_or_default().to_owned();
    // Before the body is read, so that nobody fills the disk who may not.
    let ctx = images::sender(&call.app, &call.ctx, &mut request, &secret).await?;
    let received = match call.content_type() {
        "application/json" => {
            let body = call.body_bytes().await?;
            return from_elsewhere(&call, &body).await;
        }
        "multipart/form-data" => form(&mut call).await,
        "application/octet-stream" => {
            let stream = call.body_stream();
            Upload::unified(&call.app, stream).await
        }
        _ => {
            let mut stream = call.body_stream();
            // Clients that do not say what they send: JSON begins with a brace, no archive does.
            let first = stream.next().await;
            if matches!(&first, Some(Ok(chunk)) if chunk.trim_ascii_start().first() == Some(&b'{')) {
                let body = collect(futures::stream::iter(first).chain(stream)).await?;
                return from_elsewhere(&call, &body).await;
            }
            Upload::unified(&call.app, futures::stream::iter(first).chain(stream)).await
        }
    };
    answer::in_background(&images::import(&call.app, &ctx, received, request).await?)
}

async fn from_elsewhere(call: &Call, body: &[u8]) -> Outcome {
    let post = body::json(body)?;
    answer::in_background(&images::import_from(&call.app, &call.ctx, post).await?)
}

/// What the headers say about an upload.
fn request(call: &Call) -> ImportRequest {
    let text = |name| call.header(name).unwrap_or_default();
    ImportRequest {
        filename: text("x-lxd-filename").to_owned(),
        public: matches!(
            text("x-lxd-public").to_ascii_lowercase().as_str(),
            "1" | "true" | "yes" | "on"
        ),
        properties: properties(text("x-lxd-properties")),
        fingerprint: text("x-lxd-fingerprint").to_owned(),
        profiles: Some(named(text("x-lxd-profiles"), "profile").collect::<Vec<_>>())
            .filter(|profiles| !profiles.is_empty()),
        aliases: named(text("x-lxd-aliases"), "alias")
            .map(|name| ImageAlias {
                name,
                ..ImageAlias::default()
            })
            .collect(),
        ..ImportRequest::default()
    }
}

/// Properties written as a query string; pairs that can't be decoded are left out, as with the reference.
fn properties(text: &str) -> BTreeMap<String, String> {
    pairs(text).collect()
}

/// The values of one key, as in `profile=a&profile=b`.
fn named(text: &str, key: &str) -> impl Iterator<Item = String> {
    pairs(text).filter_map(move |(name, value)| (name == key).then_some(value))
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(key, true)?, percent_decode(value, true)?))
        })
}

/// Receives a form of two files: the metadata and the root file system.
async fn form(call: &mut Call) -> Result<Upload, Error> {
    let mut form = call
        .multipart()
        .map_err(|_| Error::bad_request("multipart: boundary is empty"))?;
    let app: &App = &call.app;
    let first = next_part(&mut form).await?;
    if first.name() != Some("metadata") {
        return Err(images::invalid_form());
    }
    let metadata = Upload::first_part(app, first.map(readable)).await?;
    let second = next_part(&mut form).await?;
    let name = second.name().unwrap_or_default().to_owned();
    let filename = second.file_name().unwrap_or_default().to_owned();
    metadata
        .second_part(app, &name, &filename, second.map(readable))
        .await
}

async fn next_part(form: &mut multer::Multipart<'static>) -> Result<multer::Field<'static>, Error> {
    let next = form.next_field().await;
    next.map_err(|error| Error::bad_request(told(&error)))?
        .ok_or_else(|| Error::bad_request("EOF"))
}

fn readable(chunk: multer::Result<Bytes>) -> Result<Bytes, String> {
    chunk.map_err(|error| told(&error))
}

fn told(error: &multer::Error) -> String {
    match error {
        multer::Error::IncompleteStream
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteFieldData { .. } => "unexpected EOF".to_owned(),
        other => other.to_string(),
    }
}

/// Reads JSON whose beginning was looked at already.
async fn collect(stream: impl Stream<Item = io::Result<Bytes>>) -> Result<Bytes, Failure> {
    let mut stream = std::pin::pin!(stream);
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|error| Failure::bad_request(format!("Failed reading the body: {error}")))?;
        if whole.len() + chunk.len() > JSON_LIMIT {
            let text = format!("The body of the request is larger than {JSON_LIMIT} bytes");
            return Err(Failure::new(ErrorKind::TooLarge, text));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_travel_as_a_query_string() {
        let found = properties("a=b&c=d%20e&f&&bad=%zz&g=1+2");
        let pairs: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "b"), ("c", "d e"), ("f", ""), ("g", "1 2")]);
    }

    #[tokio::test]
    async fn json_that_never_ends_is_cut_off() {
        let chunk = Bytes::from(vec![b' '; 1 << 20]);
        let endless = futures::stream::repeat_with(move || Ok(chunk.clone()));
        assert_eq!(collect(endless).await.unwrap_err().status(), 413);
    }
}
