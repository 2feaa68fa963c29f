//! `GET /1.0/images/{fingerprint}/export`: the same bytes that came in.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::RANGE;
use lxd_core::images::{self, Export};
use lxd_core::{App, Ctx};

use crate::http::answer::{self, Answer, Outcome};
use crate::http::download::{self, read};
use crate::http::request::Call;

/// Sends the files of an image: one as it is, two as a form.
pub(crate) async fn export(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    let secret = call.query("secret");
    let wanted = (fingerprint, secret.as_deref());
    export_image(&call.app, &call.ctx, wanted, call.header(RANGE.as_str())).await
}

/// As [`export`], of the image with a fingerprint, for whoever knows its secret or may see it.
pub(crate) async fn export_image(
    app: &Arc<App>,
    ctx: &Ctx,
    (fingerprint, secret): (&str, Option<&str>),
    range: Option<&str>,
) -> Outcome {
    let mut export = images::export(app, ctx, fingerprint, secret).await?;
    if export.files.len() == 1
        && let Some(file) = export.files.pop()
    {
        let file = download::File {
            filename: file.filename,
            size: file.size,
            modified: file.modified,
            file: file.file,
        };
        return Ok(download::whole_or_part(file, range, export));
    }
    Ok(form(export))
}

fn form(mut export: Export) -> Answer {
    // The same each time, so that who fetches it again after a break can go on where it broke. It is no part of a file
    // that is called by its own hash.
    let boundary = export.fingerprint.clone();
    let mut pieces: Vec<std::pin::Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>> = Vec::new();
    let mut before = String::new();
    for file in export.files.drain(..) {
        let head = format!(
            "{before}--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            file.part, file.filename
        );
        pieces.push(Box::pin(futures::stream::iter([Ok(Bytes::from(head))])));
        pieces.push(Box::pin(read(file.file, 0, file.size)));
        before = "\r\n".to_owned();
    }
    let end = Bytes::from(format!("{before}--{boundary}--\r\n"));
    pieces.push(Box::pin(futures::stream::iter([Ok(end)])));
    let body = futures::stream::iter(pieces).flatten().map(move |chunk| {
        let _ = &export;
        chunk
    });
    answer::stream(&format!("multipart/form-data; boundary={boundary}"), None, body)
}
