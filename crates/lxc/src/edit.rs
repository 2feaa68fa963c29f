//! Text in the user's editor.

use std::fs;

use crate::context::ask;
use crate::error::{Error, Result};

/// Editors to try where the user has chosen none.
const EDITORS: &[&str] = &["editor", "vi", "emacs", "nano"];

/// Lets the user edit a text until it is accepted.
///
/// `accept` gets the edited text; where it fails, the user sees why and may go on editing.
///
/// # Errors
/// When the editor can't be started, or fails.
pub(crate) async fn edit(initial: &str, mut accept: impl AsyncFnMut(&str) -> Result<()>) -> Result<()> {
    let mut text = in_editor(initial)?;
    loop {
        let Err(error) = accept(&text).await else {
            return Ok(());
        };
        eprintln!("Config parsing error: {error}");
        ask("Press enter to open the editor again or ctrl+c to abort change\n")?;
        text = in_editor(&text)?;
    }
}

/// Lets the user edit a text once.
pub(crate) fn in_editor(initial: &str) -> Result<String> {
    let path = std::env::temp_dir().join(format!("lxd_editor_{}.yaml", std::process::id()));
    let file = |source| Error::File {
        path: path.clone(),
        source,
    };
    write_private(&path, initial).map_err(file)?;
    let edited = run_editor(&path).and_then(|()| fs::read_to_string(&path).map_err(file));
    // It holds nothing that is not returned.
    let _ = fs::remove_file(&path);
    edited
}

fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let _ = fs::remove_file(path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the editor takes over the terminal; nothing else is to be logged or timed"
)]
fn run_editor(path: &std::path::Path) -> Result<()> {
    let failed = |source| Error::Terminal {
        doing: "Failed to run the editor",
        source,
    };
    let editor = editor()
        .ok_or_else(|| Error::message("No text editor found, please set the EDITOR environment variable"))?;
    let command = format!("{editor} \"$1\"");
    let status = std::process::Command::new("sh")
        .args(["-c", &command, "sh"])
        .arg(path)
        .status()
        .map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::message(status.to_string()))
    }
}

fn editor() -> Option<String> {
    let chosen = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    chosen.or_else(|| {
        let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
        let there = |name: &&&str| folders.iter().any(|folder| folder.join(name).exists());
        EDITORS.iter().find(there).map(|name| (*name).to_string())
    })
}
