//! Help texts, laid out as the reference lays them out.

use std::fmt::Write as _;

use super::tree::{Command, Flag, GLOBAL, ROOT};

/// The help of a command; the path holds it and those above it.
pub(crate) fn text(path: &[&Command]) -> String {
    let command = path.last().copied().unwrap_or(&ROOT);
    let name = path
        .iter()
        .map(|command| command.name)
        .collect::<Vec<_>>()
        .join(" ");
    let mut help = format!("Description:\n{}\n\nUsage:\n", indented(command.description()));
    let arguments = if command.arguments.is_empty() {
        String::new()
    } else {
        format!(" {}", command.arguments)
    };
    let _ = writeln!(help, "  {name}{arguments} [flags]");
    if !command.children.is_empty() {
        let _ = writeln!(help, "  {name} [command]");
    }
    if !command.examples.is_empty() {
        let _ = write!(help, "\nExamples:\n{}\n\n", indented(command.examples));
    }
    if !command.children.is_empty() {
        let _ = write!(help, "\nAvailable Commands:\n{}", commands(command));
    }
    let is_root = path.len() <= 1;
    if is_root {
        let all: Vec<&Flag> = GLOBAL.iter().chain(command.flags).collect();
        let _ = write!(help, "\nFlags:\n{}", flags(all));
    } else {
        if !command.flags.is_empty() {
            let _ = write!(help, "\nFlags:\n{}", flags(command.flags.iter().collect()));
        }
        let _ = write!(help, "\nGlobal Flags:\n{}", flags(GLOBAL.iter().collect()));
    }
    if !command.children.is_empty() {
        let _ = writeln!(
            help,
            "\nUse \"{name} [command] --help\" for more information about a command."
        );
    }
    help
}

/// The reference of all commands that are not hidden, in Markdown.
pub(crate) fn reference() -> String {
    let mut pages = String::from("# Command line of `lxd`\n");
    walk(&mut vec![&ROOT], &mut pages);
    pages
}

fn walk(path: &mut Vec<&'static Command>, pages: &mut String) {
    let name = path
        .iter()
        .map(|command| command.name)
        .collect::<Vec<_>>()
        .join(" ");
    let _ = write!(pages, "\n## `{name}`\n\n```text\n{}```\n", text(path));
    for child in path[path.len() - 1]
        .children
        .iter()
        .filter(|child| !child.is_hidden)
    {
        path.push(child);
        walk(path, pages);
        path.pop();
    }
}

fn indented(text: &str) -> String {
    let line = |line: &str| {
        if line.is_empty() {
            String::new()
        } else {
            format!("  {line}")
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn commands(command: &Command) -> String {
    let width = command
        .children
        .iter()
        .map(|child| child.name.len())
        .max()
        .unwrap_or(0)
        + 1;
    let mut shown: Vec<_> = command
        .children
        .iter()
        .filter(|child| !child.is_hidden)
        .map(|child| (child.name, child.about))
        .collect();
    if command.name == ROOT.name {
        shown.push(("help", "Help about any command"));
    }
    shown.sort_unstable();
    shown.iter().fold(String::new(), |mut lines, (name, about)| {
        let _ = writeln!(lines, "  {name:width$}{about}");
        lines
    })
}

fn flags(mut flags: Vec<&Flag>) -> String {
    flags.sort_unstable_by_key(|flag| flag.long);
    let width = flags.iter().map(|flag| flag.long.len()).max().unwrap_or(0) + 3;
    flags.iter().fold(String::new(), |mut lines, flag| {
        let short = flag
            .short
            .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let default = if flag.default.is_empty() {
            String::new()
        } else {
            format!(" (default {})", flag.default)
        };
        let _ = writeln!(lines, "  {short}--{:width$}{}{default}", flag.long, flag.about);
        lines
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::tree;

    #[test]
    fn the_layout_is_the_references() {
        let help = text(&tree::find(&["waitready".to_owned()]));
        let (_, layout) = help.split_once("\n\nUsage:\n").unwrap();
        assert_eq!(
            layout,
            "  lxd waitready [flags]

Flags:
  -t, --timeout   Seconds to wait before giving up

Global Flags:
  -d, --debug     Log everything
  -h, --help      Show this help
      --logfile   File that the log goes to
      --syslog    Send the log to syslog
      --trace     Parts of the log to trace
  -v, --verbose   Log information too
      --version   Show the version number
"
        );
        let help = text(&[&ROOT]);
        assert!(help.contains("\n  activateifneeded   "), "{help}");
        assert!(!help.contains("sql"), "{help}");
    }
}
