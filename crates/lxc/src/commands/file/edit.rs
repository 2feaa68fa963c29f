//! `lxc file edit`.

use lxd_client::{FileWish, InstanceFile, Upload};

use super::{Place, clean, place};
use crate::context::{Context, read_stdin, stdin_is_terminal};
use crate::edit::in_editor;
use crate::error::{Error, Result};

/// Replaces a file by what comes from standard input, or by what the user makes of it in an editor.
pub(super) async fn edit(cx: &Context) -> Result<()> {
    let Place { resource, path } = place(cx, cx.argument(0), "target")?;
    let (client, name, path) = (&resource.client, resource.name.as_str(), clean(&path));
    let text = if stdin_is_terminal() {
        let (_, file) = client.instance_file(name, &path).await?;
        let InstanceFile::File(download) = file else {
            return Err(Error::message(format!("{path} is no file")));
        };
        let before = download.bytes().await?;
        let before = String::from_utf8(before).map_err(|_| Error::message(format!("{path} is no text")))?;
        let after = in_editor(&before)?;
        if after == before {
            return Ok(());
        }
        after
    } else {
        read_stdin()?
    };
    client
        .put_instance_file(name, &path, FileWish::default(), Upload::text(&text))
        .await?;
    Ok(())
}
