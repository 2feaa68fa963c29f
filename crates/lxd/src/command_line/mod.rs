//! The command line: from words to a command, its options, and what to say when they make no sense.

mod help;
mod tree;

use crate::commands::output;
use std::error::Error;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use crate::commands;
use crate::daemon::{self, log};
use tree::{Command, Flag, Value};

pub(crate) use help::reference;
pub(crate) use tree::ROOT;

/// Where the state directory is unless `LXD_DIR` says otherwise.
pub(crate) const DEFAULT_DIR: &str = "/var/lib/lxd";

/// A command as the user gave it.
pub(crate) struct Invocation {
    /// The state directory.
    pub(crate) dir: PathBuf,
    /// What the flags say about the log.
    pub(crate) log: log::Options,
    /// The words after the command.
    pub(crate) arguments: Vec<String>,
    matches: ArgMatches,
    /// The command and those above it.
    path: Vec<&'static Command>,
}

impl Invocation {
    /// Whether a flag is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.matches
            .try_get_one(name)
            .ok()
            .flatten()
            .copied()
            .unwrap_or(false)
    }

    /// The text of a flag, when it is given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.matches
            .try_get_one::<String>(name)
            .ok()
            .flatten()
            .map(String::as_str)
    }

    /// The number of a flag, when it is given.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.matches.try_get_one(name).ok().flatten().copied()
    }

    /// The command's help.
    pub(crate) fn help(&self) -> String {
        help::text(&self.path)
    }

    /// The command's full name, such as `lxd cluster show`.
    pub(crate) fn name(&self) -> String {
        self.path
            .iter()
            .map(|command| command.name)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Runs the command that the words name.
///
/// # Errors
/// What to tell the user.
pub(crate) fn run(words: Vec<String>) -> Result<(), String> {
    let invocation = match parse(words)? {
        Parsed::Run(invocation) => invocation,
        Parsed::Print(text) => {
            output::print(&text);
            return Ok(());
        }
    };
    if invocation.path.len() > 1 {
        log::start_simple(&invocation.log);
        let command = invocation.path[invocation.path.len() - 1];
        return (command.run)(&invocation);
    }
    let options = daemon::Options {
        dir: invocation.dir.clone(),
        group: invocation.text("group").map(ToOwned::to_owned),
        log: invocation.log,
    };
    daemon::run(&options).map_err(|error| chain(&error))
}

/// An error and everything that caused it, outer text first.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}

enum Parsed {
    Run(Invocation),
    Print(String),
}

fn parse(mut words: Vec<String>) -> Result<Parsed, String> {
    drop_empty_words(&mut words);
    if words.get(1).is_some_and(|word| word == "help") {
        return Ok(Parsed::Print(help::text(&tree::find(&words[2..]))));
    }
    let mut matches = build(&ROOT)
        .try_get_matches_from(&words)
        .map_err(|error| explain(&error))?;
    let mut path = vec![&ROOT];
    while let Some((name, below)) = matches.remove_subcommand() {
        path.extend(
            path[path.len() - 1]
                .children
                .iter()
                .find(|command| command.name == name),
        );
        matches = below;
    }
    if matches.get_flag("help") {
        return Ok(Parsed::Print(help::text(&path)));
    }
    if matches.get_flag("version") {
        return Ok(Parsed::Print(format!("{}\n", commands::VERSION)));
    }
    let log = log::Options {
        file: matches
            .get_one::<String>("logfile")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        syslog: matches.get_flag("syslog"),
        verbose: matches.get_flag("verbose"),
        debug: matches.get_flag("debug"),
    };
    let arguments = matches
        .try_get_many::<String>(ARGUMENTS)
        .ok()
        .flatten()
        .unwrap_or_default()
        .cloned()
        .collect();
    let dir = std::env::var_os("LXD_DIR").filter(|dir| !dir.is_empty());
    let dir = dir.map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from);
    Ok(Parsed::Run(Invocation {
        dir,
        log,
        arguments,
        matches,
        path,
    }))
}

/// Scripts pass options that may be empty: before the command's name they count as absent.
fn drop_empty_words(words: &mut Vec<String>) {
    let mut at = 1;
    while at < words.len() {
        let word = &words[at];
        if word.is_empty() {
            words.remove(at);
        } else if ["--logfile", "--group", "--trace"].contains(&word.as_str()) {
            at += 2;
        } else if word.starts_with('-') {
            at += 1;
        } else {
            return;
        }
    }
}

const ARGUMENTS: &str = "arguments";

/// The parser of a command and everything below it.
fn build(command: &'static Command) -> clap::Command {
    let mut parser = clap::Command::new(command.name)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args(command.flags.iter().map(argument));
    if command.name == ROOT.name {
        parser = parser.args(tree::GLOBAL.iter().map(|flag| argument(flag).global(true)));
    }
    if command.children.is_empty() {
        let any = Arg::new(ARGUMENTS)
            .num_args(0..)
            .action(ArgAction::Append)
            .allow_hyphen_values(false);
        return parser.arg(any);
    }
    for child in command.children {
        parser = parser.subcommand(build(child));
    }
    parser
}

fn argument(flag: &Flag) -> Arg {
    let mut arg = Arg::new(flag.long).long(flag.long);
    if let Some(short) = flag.short {
        arg = arg.short(short);
    }
    match flag.value {
        Value::None => arg.action(ArgAction::SetTrue),
        Value::Text => arg.action(ArgAction::Set).overrides_with(flag.long),
        Value::Number => arg
            .action(ArgAction::Set)
            .overrides_with(flag.long)
            .allow_negative_numbers(true)
            .value_parser(clap::value_parser!(i64)),
    }
}

/// What is wrong with the words, in the reference's manner.
fn explain(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(&text(ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument if argument.starts_with("--") => format!("unknown flag: {argument}"),
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let letter = argument.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: {letter:?} in {argument}")
        }
        ErrorKind::UnknownArgument => unknown_command(&argument),
        ErrorKind::ValueValidation => {
            let flag = argument.split(' ').next().unwrap_or_default();
            let value = text(ContextKind::InvalidValue);
            format!("invalid argument {value:?} for {flag:?} flag: not a number")
        }
        ErrorKind::InvalidValue => {
            format!(
                "flag needs an argument: {}",
                argument.split(' ').next().unwrap_or_default()
            )
        }
        _ => error
            .render()
            .to_string()
            .trim_start_matches("error: ")
            .trim_end()
            .to_owned(),
    }
}

fn unknown_command(word: &str) -> String {
    format!("unknown command {word:?} for \"lxd\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        std::iter::once("lxd")
            .chain(line.iter().copied())
            .map(ToOwned::to_owned)
            .collect()
    }

    fn invocation(line: &[&str]) -> Invocation {
        match parse(words(line)) {
            Ok(Parsed::Run(invocation)) => invocation,
            Ok(Parsed::Print(text)) => panic!("{line:?} prints {text}"),
            Err(message) => panic!("{line:?} fails: {message}"),
        }
    }

    #[test]
    fn flags_may_stand_anywhere_and_empty_words_are_passed_over() {
        for line in [
            &["--logfile", "/x", "--debug", ""][..],
            &["", "--logfile=/x", "-d"],
            &["--debug", "--logfile", "/x", "--group", "lxd"],
        ] {
            let daemon = invocation(line);
            assert_eq!(daemon.name(), "lxd");
            assert!(daemon.log.debug);
            assert_eq!(daemon.log.file, Some("/x".into()));
        }
        let waitready = invocation(&["", "waitready", "--timeout=300", "-v"]);
        assert_eq!(
            (waitready.name().as_str(), waitready.number("timeout")),
            ("lxd waitready", Some(300))
        );
        assert!(waitready.log.verbose);
        assert_eq!(invocation(&["sql", "local", ""]).arguments, ["local", ""]);
        assert_eq!(invocation(&["sql", "local", "-"]).arguments, ["local", "-"]);
        assert_eq!(
            invocation(&["init", "--auto", "--network-port", "-1"]).number("network-port"),
            Some(-1)
        );
    }

    #[test]
    fn mistakes_are_told_as_the_reference_tells_them() {
        for (line, message) in [
            (&["foo"][..], "unknown command \"foo\" for \"lxd\""),
            (&["--foo"], "unknown flag: --foo"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["waitready", "--timeout"], "flag needs an argument: --timeout"),
            (
                &["waitready", "-t", "a"],
                "invalid argument \"a\" for \"--timeout\" flag: not a number",
            ),
        ] {
            assert_eq!(parse(words(line)).err().as_deref(), Some(message), "{line:?}");
        }
    }

    #[test]
    fn every_command_has_help() {
        for line in [
            &["--help"][..],
            &["help"],
            &["help", "nothing"],
            &["init", "-h"],
            &["cluster", "show", "-h"],
        ] {
            let Ok(Parsed::Print(text)) = parse(words(line)) else {
                panic!("{line:?} has no help")
            };
            assert!(text.starts_with("Description:\n"), "{text}");
        }
    }
}
