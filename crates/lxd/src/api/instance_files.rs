//! `/1.0/instances/NAME/files` and `/1.0/instances/NAME/sftp`.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_DISPOSITION, CONTENT_TYPE, LAST_MODIFIED, UPGRADE};
use http::{HeaderName, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use lxd_core::instances::files::{self, Attributes, Contents, Found, Kind, Target, Wanted};

use crate::http::answer::{self, Answer, Outcome};
use crate::http::error::Failure;
use crate::http::request::Call;

const UID: &str = "x-lxd-uid";
const GID: &str = "x-lxd-gid";
const MODE: &str = "x-lxd-mode";
const TYPE: &str = "x-lxd-type";
const WRITE: &str = "x-lxd-write";
const MODIFIED: &str = "x-lxd-modified";

/// Sends a file, what a link says, or the names in a directory.
pub(super) async fn get(call: Call) -> Outcome {
    let path = path(&call)?;
    let found = files::read(&call.app, &call.ctx, target(&call, &path)).await?;
    let Found { attributes, contents } = found;
    let mut answer = match contents {
        Contents::Names(names) => answer::sync(&names)?,
        Contents::Data(data) => answer::bytes("application/octet-stream", data),
        Contents::Stream(body) => answer::stream("application/octet-stream", Some(attributes.size), body),
        Contents::None => answer::bytes("application/octet-stream", Bytes::new()),
    };
    if attributes.kind != Kind::Directory {
        let name = path.rsplit('/').next().unwrap_or_default();
        let disposition = format!("inline;filename={name}");
        answer::set_header(&mut answer, CONTENT_DISPOSITION, &disposition);
        let modified = time(&attributes, "%a, %d %b %Y %H:%M:%S GMT");
        answer::set_header(&mut answer, LAST_MODIFIED, &modified);
    }
    describe(&mut answer, &attributes);
    Ok(answer)
}

/// Tells what is at a path.
pub(super) async fn head(call: Call) -> Outcome {
    let path = path(&call)?;
    let found = files::look(&call.app, &call.ctx, target(&call, &path)).await?;
    let mut answer = answer::bare(StatusCode::OK);
    answer::set_header(&mut answer, CONTENT_TYPE, "application/json");
    describe(&mut answer, &found.attributes);
    Ok(answer)
}

/// Makes a file, directory or link, or writes to a file.
pub(super) async fn post(mut call: Call) -> Outcome {
    let path = path(&call)?;
    let append = match call.header(WRITE).unwrap_or_default() {
        "" | "overwrite" => false,
        "append" => true,
        other => return Err(Failure::bad_request(format!("Bad file write mode: {other}"))),
    };
    let wanted = Wanted {
        uid: call.header(UID).and_then(|text| text.parse().ok()),
        gid: call.header(GID).and_then(|text| text.parse().ok()),
        mode: call.header(MODE).and_then(mode),
    };
    match call.header(TYPE).unwrap_or_default() {
        "" | "file" => {
            let body = call.body_stream();
            files::write(&call.app, &call.ctx, target(&call, &path), (append, wanted), body).await?;
        }
        "directory" => files::make_directory(&call.app, &call.ctx, target(&call, &path), wanted).await?,
        "symlink" => {
            let to = call.body_bytes().await?;
            files::make_link(&call.app, &call.ctx, target(&call, &path), &to, wanted).await?;
        }
        other => return Err(Failure::bad_request(format!("Bad file type: {other}"))),
    }
    answer::empty()
}

/// Removes a file or an empty directory.
pub(super) async fn delete(call: Call) -> Outcome {
    let path = path(&call)?;
    files::remove(&call.app, &call.ctx, target(&call, &path)).await?;
    answer::empty()
}

/// Speaks SFTP on the connection.
pub(super) async fn sftp(mut call: Call) -> Outcome {
    let wants = call.header(UPGRADE.as_str()) == Some("sftp");
    let Some(upgrade) = call.upgrade.take().filter(|_| wants) else {
        return Err(Failure::bad_request("Missing or invalid upgrade header"));
    };
    let [name] = call.params();
    let mut server = files::sftp(&call.app, &call.ctx, name).await?;
    let shutdown = call.app.shutdown.clone();
    tokio::spawn(async move {
        let mut client = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!(err = %error, "Failed upgrading to SFTP"),
        };
        let end = server.end();
        let both = tokio::io::copy_bidirectional_with_sizes(&mut client, server.stream(), CHUNK, CHUNK);
        tokio::select! {
            _ = both => {}
            () = end.cancelled() => {}
            () = shutdown.cancelled() => {}
        }
    });
    let mut answer = answer::bare(StatusCode::SWITCHING_PROTOCOLS);
    answer::set_header(&mut answer, UPGRADE, "sftp");
    answer::set_header(&mut answer, CONNECTION, "Upgrade");
    Ok(answer)
}

/// Bytes of SFTP that are passed on at once.
const CHUNK: usize = 64 << 10;

fn path(call: &Call) -> Result<String, Failure> {
    let path = call.query("path").filter(|path| !path.is_empty());
    path.ok_or_else(|| Failure::bad_request("Missing path argument"))
}

fn target<'a>(call: &'a Call, path: &'a str) -> Target<'a> {
    let [instance] = call.params();
    Target { instance, path }
}

fn describe(answer: &mut Answer, attributes: &Attributes) {
    let kind = match attributes.kind {
        Kind::File | Kind::Other => "file",
        Kind::Directory => "directory",
        Kind::Link => "symlink",
    };
    let mode = format!("{:04o}", attributes.mode & 0o777);
    let modified = time(attributes, "%Y-%m-%d %H:%M:%S +0000 UTC");
    for (name, value) in [
        (UID, attributes.uid.to_string().as_str()),
        (GID, attributes.gid.to_string().as_str()),
        (MODE, &mode),
        (TYPE, kind),
        (MODIFIED, &modified),
    ] {
        answer::set_header(answer, HeaderName::from_static(name), value);
    }
}

fn time(attributes: &Attributes, format: &str) -> String {
    let time = Timestamp::from_second(attributes.modified);
    time.unwrap_or_default().strftime(format).to_string()
}

/// A mode as clients write it: octal with or without a leading zero. What is no mode is no wish.
fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        for (text, wanted) in [
            ("0644", Some(0o644)),
            ("755", Some(0o755)),
            ("0o4755", Some(0o4755)),
            ("999", None),
            ("77777", None),
            ("", None),
        ] {
            assert_eq!(mode(text), wanted, "{text}");
        }
    }
}
