//! The tree of commands: what there is, what it takes, what it says about itself.
//!
//! Declared once here; `--help`, parsing and argument counts all come from these tables.

mod client;
mod cluster;
mod config;
mod image;
mod instance;
mod network;
mod network_services;
mod profile;
mod project;
mod storage;

/// No upper limit on arguments.
pub(crate) const ANY: usize = usize::MAX;

/// One command, or a group of commands.
#[derive(Debug)]
pub(crate) struct Command {
    /// The words after `lxc`.
    pub(crate) path: &'static str,
    /// The arguments, as the usage line shows them.
    pub(crate) usage: &'static str,
    /// The fewest and most arguments; none for a group.
    pub(crate) count: Option<(usize, usize)>,
    /// What it does, in a line.
    pub(crate) about: &'static str,
    /// What else to know.
    pub(crate) details: &'static str,
    /// How it is used.
    pub(crate) examples: &'static str,
    /// Other names of the last word.
    pub(crate) aliases: &'static [&'static str],
    /// Whether lists of commands leave it out.
    pub(crate) hidden: bool,
    /// Whether it takes further words for mistakes; groups that don't just explain themselves.
    pub(crate) strict: bool,
    /// Its own flags.
    pub(crate) flags: &'static [Flag],
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// The name after `--`.
    pub(crate) name: &'static str,
    /// The letter after `-`.
    pub(crate) short: Option<char>,
    /// What values it takes.
    pub(crate) kind: Kind,
    /// The value where it is not given.
    pub(crate) default: &'static str,
    /// The value where it is given without one.
    pub(crate) bare: Option<&'static str>,
    /// What help calls the value.
    pub(crate) value: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// True or false; true where no value is given.
    Switch,
    /// Any text; the last one counts.
    Text,
    /// Any text, any number of times.
    List,
    /// A whole number.
    Signed,
    /// A whole number, not negative.
    Unsigned,
}

/// The flags that every command has.
pub(crate) static GLOBAL: &[Flag] = &[
    switch("debug", "Log everything"),
    switch("force-local", "Talk to the local unix socket"),
    switch("help", "Print this help").short('h'),
    text("project", "Project to work in"),
    switch("quiet", "Show no progress").short('q'),
    switch(
        "sub-commands",
        "List the commands below each command too (with --help)",
    ),
    switch("verbose", "Log what is done").short('v'),
    switch("version", "Print the version"),
];

/// The flag that only `lxc` itself has.
pub(crate) static ROOT_FLAGS: &[Flag] = &[switch("all", "List rarely used commands too")];

const FORMAT: Flag = text("format", "Format (csv|json|table|yaml|compact)")
    .short('f')
    .default("table");
const TARGET: Flag = text("target", "Cluster member to use");

/// `lxc` itself.
pub(crate) static ROOT: Command = Command::group("", "Drive LXD from the command line")
    .details("Every part of LXD has a command below; add --help to any of them to learn more.");

/// `lxc help`, which is in lists of commands but takes their words as arguments.
pub(crate) static HELP: Command = Command::new("help", "[command]", 0, ANY, "Explain a command")
    .details("lxc help [command] prints the same as lxc [command] --help.");

/// All commands, groups included.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    let files = [
        client::COMMANDS,
        cluster::COMMANDS,
        config::COMMANDS,
        image::COMMANDS,
        instance::COMMANDS,
        network::COMMANDS,
        network_services::COMMANDS,
        profile::COMMANDS,
        project::COMMANDS,
        storage::COMMANDS,
    ];
    files.into_iter().flatten()
}

/// The command with a path.
#[cfg(test)]
pub(crate) fn find(path: &str) -> Option<&'static Command> {
    all().find(|command| command.path == path)
}

/// The commands of a group, sorted by name; hidden ones only where wanted.
pub(crate) fn children(group: &str, hidden: bool) -> Vec<&'static Command> {
    let mut children: Vec<_> = all()
        .filter(|command| command.parent() == group && (hidden || !command.hidden))
        .collect();
    if group.is_empty() {
        children.push(&HELP);
    }
    children.sort_by_key(|command| command.name());
    children
}

/// The command of a group that goes by a name, its aliases included.
pub(crate) fn child(group: &str, name: &str) -> Option<&'static Command> {
    all().find(|command| {
        command.parent() == group && (command.name() == name || command.aliases.contains(&name))
    })
}

impl Command {
    const fn new(
        path: &'static str,
        usage: &'static str,
        min: usize,
        max: usize,
        about: &'static str,
    ) -> Self {
        Self {
            path,
            usage,
            count: Some((min, max)),
            about,
            details: "",
            examples: "",
            aliases: &[],
            hidden: false,
            strict: true,
            flags: &[],
        }
    }

    const fn group(path: &'static str, about: &'static str) -> Self {
        let command = Self::new(path, "", 0, 0, about);
        Self {
            count: None,
            ..command
        }
    }

    const fn details(self, details: &'static str) -> Self {
        Self { details, ..self }
    }

    const fn examples(self, examples: &'static str) -> Self {
        Self { examples, ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    const fn lenient(self) -> Self {
        Self {
            strict: false,
            ..self
        }
    }

    const fn flags(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }

    /// Whether it only holds other commands.
    pub(crate) fn is_group(&self) -> bool {
        self.count.is_none()
    }

    /// The last word of the path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or_default()
    }

    /// The path of the group that it is in; "" for those right below `lxc`.
    pub(crate) fn parent(&self) -> &'static str {
        // `lxc` itself is in no group: no group has this name.
        if self.path.is_empty() {
            "\0"
        } else {
            self.path.rsplit_once(' ').map_or("", |(parent, _)| parent)
        }
    }

    /// The words to call it by, `lxc` first.
    pub(crate) fn full(&self) -> String {
        if self.path.is_empty() {
            "lxc".into()
        } else {
            format!("lxc {}", self.path)
        }
    }

    /// Its own and the global flags; an own flag hides a global one of the same name.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        let own = if self.path.is_empty() {
            ROOT_FLAGS
        } else {
            self.flags
        };
        own.iter().chain(
            GLOBAL
                .iter()
                .filter(move |global| own.iter().all(|flag| flag.name != global.name)),
        )
    }
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            short: None,
            kind,
            default: "",
            bare: None,
            value: "",
            about,
        }
    }

    const fn short(self, short: char) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn or(self, bare: &'static str) -> Self {
        Self {
            bare: Some(bare),
            ..self
        }
    }

    const fn value(self, value: &'static str) -> Self {
        Self { value, ..self }
    }
}

const fn switch(name: &'static str, about: &'static str) -> Flag {
    let flag = Flag::new(name, Kind::Switch, about);
    Flag {
        bare: Some("true"),
        ..flag
    }
}

const fn text(name: &'static str, about: &'static str) -> Flag {
    Flag::new(name, Kind::Text, about)
}

const fn list(name: &'static str, about: &'static str) -> Flag {
    Flag::new(name, Kind::List, about)
}

const fn signed(name: &'static str, about: &'static str) -> Flag {
    Flag::new(name, Kind::Signed, about)
}

const fn unsigned(name: &'static str, about: &'static str) -> Flag {
    Flag::new(name, Kind::Unsigned, about)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_a_place_and_something_to_say() {
        let mut paths = BTreeSet::new();
        for command in all() {
            assert!(paths.insert(command.path), "{} is there twice", command.path);
            assert!(
                !command.about.is_empty() && !command.about.ends_with('.'),
                "{}",
                command.path
            );
            let group = find(command.parent());
            assert!(
                command.parent().is_empty() || group.is_some_and(Command::is_group),
                "{}",
                command.path
            );
            if let Some((min, max)) = command.count {
                assert!(
                    min <= max && (max == 0) <= command.usage.is_empty(),
                    "{}",
                    command.path
                );
            } else {
                assert!(
                    !children(command.path, true).is_empty(),
                    "{} is empty",
                    command.path
                );
            }
        }
        assert_eq!(paths.len(), 266);
    }

    #[test]
    fn names_lead_to_one_command_and_one_flag() {
        for command in all() {
            let (mut names, mut letters) = (BTreeSet::new(), BTreeSet::new());
            for flag in command.all_flags() {
                assert!(names.insert(flag.name), "{}: --{}", command.path, flag.name);
                assert!(
                    flag.short.is_none_or(|letter| letters.insert(letter)),
                    "{}: {:?}",
                    command.path,
                    flag.short
                );
            }
            for name in command.aliases.iter().chain([&command.name()]) {
                assert_eq!(
                    child(command.parent(), name).map(|found| found.path),
                    Some(command.path)
                );
            }
        }
    }
}
