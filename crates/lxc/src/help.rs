//! `--help`: the tree of commands as text, in the layout that LXD's users know.

use crate::tree::{self, Command, Flag, GLOBAL, Kind, ROOT_FLAGS};

/// How much help lists.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// Hidden commands too.
    pub(crate) all: bool,
    /// The commands below each command too.
    pub(crate) sub_commands: bool,
}

/// Everything about a command.
pub(crate) fn help(command: &Command, extent: Extent) -> String {
    let mut text = format!("Description:\n  {}\n", command.about);
    if !command.details.is_empty() {
        text.push('\n');
        text.push_str(&indent(command.details, 2));
    }
    text.push('\n');
    text + &usage(command, extent)
}

/// How a command is called: help without its description.
pub(crate) fn usage(command: &Command, extent: Extent) -> String {
    let mut text = String::from("Usage:\n");
    let full = command.full();
    if !command.is_group() {
        let mut line = format!("{full} {}", command.usage);
        if !command.usage.contains("[flags]") {
            line = format!("{} [flags]", line.trim_end());
        }
        text.push_str(&format!("  {line}\n"));
    } else {
        if !command.path.is_empty() && command.strict {
            text.push_str(&format!("  {full} [flags]\n"));
        }
        text.push_str(&format!("  {full} [command]\n"));
    }
    if !command.aliases.is_empty() {
        text.push_str(&format!(
            "\nAliases:\n  {}, {}\n",
            command.name(),
            command.aliases.join(", ")
        ));
    }
    if !command.examples.is_empty() {
        text.push_str(&format!("\nExamples:\n{}", indent(command.examples, 2)));
    }
    if command.is_group() {
        text.push_str("\nAvailable Commands:\n");
        list(&mut text, command.path, extent, 1);
    }
    let own: Vec<&Flag> = if command.path.is_empty() {
        let mut flags: Vec<&Flag> = ROOT_FLAGS.iter().chain(GLOBAL).collect();
        flags.sort_by_key(|flag| flag.name);
        flags
    } else {
        command.flags.iter().collect()
    };
    if !own.is_empty() {
        text.push_str(&format!("\nFlags:\n{}", flags(&own)));
    }
    if !command.path.is_empty() {
        let global: Vec<&Flag> = GLOBAL
            .iter()
            .filter(|global| own.iter().all(|flag| flag.name != global.name))
            .collect();
        text.push_str(&format!("\nGlobal Flags:\n{}", flags(&global)));
    }
    if command.is_group() {
        text.push_str(&format!(
            "\nUse \"{full} [command] --help\" for more information about a command.\n"
        ));
    }
    text
}

/// The commands of a group, each in a line, with those below them indented further where wanted.
fn list(text: &mut String, group: &str, extent: Extent, depth: usize) {
    /// Names take at least this many columns.
    const WIDTH: usize = 11;
    let longest = tree::children(group, true)
        .iter()
        .map(|child| child.name().len())
        .max()
        .unwrap_or(0)
        .max(WIDTH);
    let width = longest + 1 + usize::from(extent.sub_commands);
    for child in tree::children(group, extent.all) {
        text.push_str(&format!(
            "{}{:width$}{}\n",
            "  ".repeat(depth),
            child.name(),
            child.about
        ));
        if extent.sub_commands && child.is_group() {
            list(text, child.path, extent, depth + 1);
        }
    }
}

/// The flags, a line each, what they do in one column.
fn flags(flags: &[&Flag]) -> String {
    let names: Vec<String> = flags.iter().map(|flag| flag_name(flag)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0) + 3;
    let line =
        |(name, flag): (&String, &&Flag)| format!("{name:width$}{}{}\n", flag.about, default_text(flag));
    names.iter().zip(flags).map(line).collect()
}

fn flag_name(flag: &Flag) -> String {
    let mut name = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.name),
        None => format!("      --{}", flag.name),
    };
    if !flag.value.is_empty() {
        name = format!("{name} {}", flag.value);
    }
    if let (Kind::Text, Some(bare)) = (flag.kind, flag.bare) {
        name = format!("{name}[=\"{bare}\"]");
    }
    name
}

fn default_text(flag: &Flag) -> String {
    match flag.kind {
        _ if flag.default.is_empty() => String::new(),
        Kind::Text | Kind::List => format!(" (default {:?})", flag.default),
        Kind::Switch | Kind::Signed | Kind::Unsigned => format!(" (default {})", flag.default),
    }
}

fn indent(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.lines()
        .map(|line| {
            if line.is_empty() {
                "\n".into()
            } else {
                format!("{margin}{line}\n")
            }
        })
        .collect()
}

/// The help of every command that is not hidden, for `api/cli-lxc.md`.
pub(crate) fn reference() -> String {
    let mut commands: Vec<&Command> = crate::tree::all().filter(|command| !command.hidden).collect();
    commands.sort_by_key(|command| command.path);
    let mut text = String::from("# The commands of `lxc`\n");
    for command in commands {
        text += &format!(
            "\n## lxc {}\n\n```text\n{}```\n",
            command.path,
            help(command, Extent::default())
        );
    }
    text.replace("## lxc \n", "## lxc\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_everything() {
        let text = help(tree::find("launch").unwrap(), Extent::default());
        assert!(
            text.starts_with("Description:\n  Create an instance and start it\n\nUsage:\n"),
            "{text}"
        );
        assert!(text.contains(
            "\n  lxc launch [<remote>:]<image> [<remote>:][<name>] [flags]\n\nExamples:\n  lxc launch"
        ));
        assert!(text.contains("\nFlags:\n  -c, --config                Configuration"));
        assert!(text.contains("\n      --console[=\"console\"]   Attach"));
        assert!(text.contains("\n\nGlobal Flags:\n      --debug          Log everything\n"));
    }

    #[test]
    fn exec_says_where_flags_go() {
        let text = help(tree::find("exec").unwrap(), Extent::default());
        assert!(text.contains("  lxc exec [<remote>:]<instance> [flags] [--] <command line>\n"));
        assert!(text.contains("(auto, interactive or non-interactive) (default \"auto\")\n"));
    }

    #[test]
    fn groups_list_their_commands_in_columns() {
        let text = help(tree::find("config trust").unwrap(), Extent::default());
        assert!(text.contains("Usage:\n  lxc config trust [flags]\n  lxc config trust [command]\n"));
        assert!(text.contains("\n  add          Trust a new client\n"));
        assert!(text.contains("\n  revoke-token Make"));
        assert!(
            text.ends_with(
                "Use \"lxc config trust [command] --help\" for more information about a command.\n"
            )
        );
    }

    #[test]
    fn hidden_commands_are_shown_when_asked_for() {
        assert!(!help(&tree::ROOT, Extent::default()).contains("\n  init "));
        assert!(
            help(
                &tree::ROOT,
                Extent {
                    all: true,
                    ..Extent::default()
                }
            )
            .contains("\n  init        Create")
        );
        let nested = help(
            &tree::ROOT,
            Extent {
                sub_commands: true,
                ..Extent::default()
            },
        );
        assert!(nested.contains("\n  alias        Manage"), "{nested}");
        assert!(nested.contains("\n    update-certificate  Replace"), "{nested}");
    }

    #[test]
    fn a_flag_of_its_own_hides_the_global_one() {
        let text = help(tree::find("remote add").unwrap(), Extent::default());
        assert_eq!(text.matches("--project").count(), 1);
    }
}
