//! Commands about the user's own names for commands.

use super::not_yet;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{List, list as print_list, sort_rows};

/// Runs a command about aliases.
pub(super) fn run(cx: &mut Context, path: &str) -> Result<()> {
    let (first, second) = (cx.argument(0).to_owned(), cx.argument(1).to_owned());
    let missing = |name: &str| Error::message(format!("Alias {name} doesn't exist"));
    let taken = |name: &str| Error::message(format!("Alias {name} already exists"));
    let aliases = cx.config.aliases_mut();
    match path {
        "alias add" if aliases.contains_key(&first) => return Err(taken(&first)),
        "alias add" => drop(aliases.insert(first, second)),
        "alias list" => return list(cx),
        "alias remove" => drop(aliases.remove(&first).ok_or_else(|| missing(&first))?),
        "alias rename" if aliases.contains_key(&first) && aliases.contains_key(&second) => {
            return Err(taken(&second));
        }
        "alias rename" => {
            let target = aliases.remove(&first).ok_or_else(|| missing(&first))?;
            aliases.insert(second, target);
        }
        _ => return not_yet(),
    }
    cx.config.save()
}

fn list(cx: &Context) -> Result<()> {
    let aliases = cx.config.aliases();
    let mut rows: Vec<_> = aliases
        .iter()
        .map(|(name, target)| vec![name.clone(), target.clone()])
        .collect();
    sort_rows(&mut rows);
    print_list(
        cx.text("format"),
        &List {
            header: &["ALIAS", "TARGET"],
            rows: &rows,
            raw: aliases,
        },
    )
}
