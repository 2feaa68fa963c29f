//! `lxc manpage`: the help of all commands as files.

use std::path::Path;

use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::help::{Extent, help};
use crate::tree::{self, Command, Flag, GLOBAL, Kind};

/// `lxc manpage`.
pub(super) fn manpage(cx: &Context) -> Result<()> {
    let write: fn(&Command) -> Result<String> = match cx.text("format") {
        "man" => |command| Ok(man(command)),
        "md" => |command| Ok(markdown(command)),
        "rest" => |command| Ok(restructured(command)),
        "yaml" => yaml,
        other => return Err(Error::message(format!("Invalid format: {other}"))),
    };
    let folder = Path::new(cx.argument(0));
    for command in tree::all() {
        let file = folder.join(file_name(command, cx.text("format")));
        std::fs::write(&file, write(command)?).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" (os error").next().unwrap_or_default();
            Error::message(format!("open {}: {}", file.display(), reason.to_lowercase()))
        })?;
    }
    Ok(())
}

fn file_name(command: &Command, format: &str) -> String {
    let full = command.full();
    match format {
        "man" => format!("{}.1", full.replace(' ', ".")),
        "rest" => format!("{}.rst", full.replace(' ', "_")),
        format => format!("{}.{format}", full.replace(' ', "_")),
    }
}

/// Text in which troff sees no requests of its own.
fn troff(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}\n"),
            false => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

fn man(command: &Command) -> String {
    let full = command.full();
    format!(
        ".nh\n.TH \"{}\" \"1\" \"\" \"LXD {}\" \"\"\n\n.SH NAME\n{}.SH DESCRIPTION\n.nf\n{}.fi\n{}",
        full.replace(' ', "-").to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        troff(&format!("{} - {}", full.replace(' ', "-"), command.about)),
        troff(&help(command, Extent::default())),
        see_also(command, |page| format!(
            ".SH SEE ALSO\n\\fB{}(1)\\fP\n",
            page.replace(' ', "-")
        )),
    )
}

fn markdown(command: &Command) -> String {
    format!(
        "## {}\n\n{}\n\n```\n{}```\n{}",
        command.full(),
        command.about,
        help(command, Extent::default()),
        see_also(command, |page| format!(
            "\n### SEE ALSO\n\n* [{page}]({}.md)\n",
            page.replace(' ', "_")
        )),
    )
}

fn restructured(command: &Command) -> String {
    let full = command.full();
    let text: String = help(command, Extent::default())
        .lines()
        .map(|line| format!("  {line}\n").replace("  \n", "\n"))
        .collect();
    format!(
        ".. _{}:\n\n{full}\n{}\n\n{}\n\n::\n\n{text}{}",
        full.replace(' ', "_"),
        "-".repeat(full.len()),
        command.about,
        see_also(command, |page| format!(
            "\nSEE ALSO\n~~~~~~~~\n\n* `{page} <{}.rst>`_\n",
            page.replace(' ', "_")
        )),
    )
}

/// The page of the command above.
fn see_also(command: &Command, write: impl Fn(&str) -> String) -> String {
    match command.path {
        "" => String::new(),
        _ => write(format!("lxc {}", command.parent()).trim_end()),
    }
}

/// A page as data.
#[derive(Serialize)]
struct Page {
    name: String,
    synopsis: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    usage: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<Choice>,
    inherited_options: Vec<Choice>,
    #[serde(skip_serializing_if = "str::is_empty")]
    example: &'static str,
}

/// A flag as data.
#[derive(Serialize)]
struct Choice {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shorthand: Option<char>,
    #[serde(skip_serializing_if = "str::is_empty")]
    default_value: &'static str,
    usage: &'static str,
}

fn yaml(command: &Command) -> Result<String> {
    let choice = |flag: &Flag| Choice {
        name: flag.name,
        shorthand: flag.short,
        default_value: match (flag.kind, flag.default) {
            (Kind::Switch, "") => "false",
            (_, default) => default,
        },
        usage: flag.about,
    };
    let page = Page {
        name: command.full(),
        synopsis: command.about,
        description: command.details,
        usage: format!("{} {} [flags]", command.full(), command.usage),
        options: command.flags.iter().map(choice).collect(),
        inherited_options: GLOBAL.iter().map(choice).collect(),
        example: command.examples,
    };
    Ok(lxd_model::yaml::to_string(&page)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_named_and_filled() {
        let command = tree::find("alias add").unwrap();
        assert_eq!(file_name(command, "man"), "lxc.alias.add.1");
        assert_eq!(file_name(command, "rest"), "lxc_alias_add.rst");
        assert!(man(command).contains(".SH NAME\nlxc\\-alias\\-add \\- Add an alias\n"));
        assert!(man(command).ends_with("\\fBlxc-alias(1)\\fP\n"));
        assert!(markdown(command).contains("* [lxc alias](lxc_alias.md)"));
        assert!(restructured(command).contains("lxc alias add\n-------------\n"));
        assert!(
            yaml(command)
                .unwrap()
                .starts_with("name: lxc alias add\nsynopsis: Add an alias\n")
        );
        assert_eq!(troff(".so x\n"), "\\&.so x\n");
    }
}
