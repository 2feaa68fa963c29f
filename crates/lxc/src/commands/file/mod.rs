//! `lxc file`: files inside instances.

mod edit;
mod mount;
mod pull;
mod push;
mod ssh;

use crate::context::{Context, Resource};
use crate::error::{Error, Result};

/// Runs a command about files.
pub(super) async fn run(cx: &Context, path: &str) -> Result<()> {
    match path {
        "file delete" => delete(cx).await,
        "file edit" => edit::edit(cx).await,
        "file mount" => mount::mount(cx).await,
        "file pull" => pull::pull(cx).await,
        "file push" => push::push(cx).await,
        _ => super::not_yet(),
    }
}

/// An instance and a path inside.
struct Place {
    resource: Resource,
    path: String,
}

/// Reads `[REMOTE:]INSTANCE/PATH`; `what` is for the error's text.
fn place(cx: &Context, word: &str, what: &str) -> Result<Place> {
    let resource = cx.resource(word)?;
    let Some((name, path)) = resource.name.split_once('/') else {
        return Err(Error::message(format!("Invalid {what} {word}")));
    };
    let (name, path) = (name.to_owned(), path.to_owned());
    Ok(Place {
        resource: Resource { name, ..resource },
        path,
    })
}

/// A path from the root, without what leads nowhere.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last part of a path; the whole of it where there is none.
fn last(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

async fn delete(cx: &Context) -> Result<()> {
    let places = cx.arguments().iter().map(|word| place(cx, word, "path"));
    for place in places.collect::<Result<Vec<_>>>()? {
        let Place { resource, path } = place;
        if path.is_empty() {
            return Err(Error::message("Missing path argument"));
        }
        let path = clean(&path);
        resource
            .client
            .remove_instance_file(&resource.name, &path)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (text, wanted) in [
            ("", "/"),
            ("root/", "/root"),
            ("a//b/./c/../d", "/a/b/d"),
            ("../../x", "/x"),
        ] {
            assert_eq!(clean(text), wanted);
        }
        assert_eq!((last("a/b/"), last("x"), last("/")), ("b", "x", ""));
    }
}
