//! The command line: which command it names, its flags and its arguments.
//!
//! Flags may stand anywhere before `--`, as `--name value`, `--name=value`, `-n value`, `-nvalue` or `-n=value`;
//! letters of switches may be put together. Error texts are those that LXD's users know.

use std::collections::BTreeMap;

use crate::tree::{self, Command, Flag, Kind};

/// A command line, understood.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The command.
    pub(crate) command: &'static Command,
    /// What is neither flag nor name of the command.
    pub(crate) arguments: Vec<String>,
    /// The flags that were given, by name.
    pub(crate) flags: BTreeMap<&'static str, Vec<String>>,
}

/// Why a command line is not understood; the text is what users see after `Error: `.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such command.
    #[error("unknown command {name:?} for {group:?}{suggestion}")]
    UnknownCommand {
        name: String,
        group: String,
        suggestion: String,
    },
    /// There is no such flag.
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    /// There is no such letter.
    #[error("unknown shorthand flag: {letter:?} in -{word}")]
    UnknownShort { letter: char, word: String },
    /// The flag wants a value.
    #[error("flag needs an argument: --{0}")]
    NoValue(String),
    /// The letter wants a value.
    #[error("flag needs an argument: {letter:?} in -{word}")]
    NoShortValue { letter: char, word: String },
    /// The value does not fit.
    #[error("invalid argument {value:?} for {flag:?} flag: strconv.{parser}: parsing {value:?}: {reason}")]
    BadValue {
        value: String,
        flag: String,
        parser: &'static str,
        reason: &'static str,
    },
    /// Not a flag at all.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
}

/// Understands a command line without the program's name.
///
/// # Errors
/// What is wrong with it; the command is given where it was found, for its help.
pub(crate) fn parse(words: &[String]) -> Result<Parsed, Error> {
    let (command, taken) = find_command(words);
    let mut parsed = Parsed {
        command,
        arguments: Vec::new(),
        flags: BTreeMap::new(),
    };
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        if word == "--" {
            parsed.arguments.extend_from_slice(&words[at..]);
            break;
        } else if word.len() > 2 && word.starts_with("--") {
            at += parsed.long(word, words.get(at))?;
        } else if word.len() > 1 && word.starts_with('-') {
            at += parsed.short(&word[1..], words.get(at))?;
        } else if !taken.contains(&(at - 1)) {
            parsed.arguments.push(word.clone());
        }
    }
    Ok(parsed)
}

/// What is wrong with the words after a group's name, where one of them was to be a command.
pub(crate) fn unknown_command(parsed: &Parsed) -> Option<Error> {
    let name = parsed.arguments.first()?;
    if !parsed.command.is_group() || !parsed.command.strict {
        return None;
    }
    let mut suggestion = String::new();
    if parsed.command.path.is_empty() {
        let near: Vec<_> = tree::children("", false)
            .into_iter()
            .filter(|child| is_near(name, child.name()))
            .collect();
        if !near.is_empty() {
            suggestion = "\n\nDid you mean this?\n".into();
            for child in near {
                suggestion.push_str(&format!("\t{}\n", child.name()));
            }
        }
    }
    Some(Error::UnknownCommand {
        name: name.clone(),
        group: parsed.command.full(),
        suggestion,
    })
}

impl Parsed {
    fn flag(&self, matches: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.command.all_flags().find(|flag| matches(flag))
    }

    /// Takes `--name` or `--name=value`; says how many further words it used.
    fn long(&mut self, word: &str, next: Option<&String>) -> Result<usize, Error> {
        let body = &word[2..];
        if body.starts_with('-') || body.starts_with('=') {
            return Err(Error::BadSyntax(word.into()));
        }
        let (name, value) = body
            .split_once('=')
            .map_or((body, None), |(name, value)| (name, Some(value)));
        let flag = self
            .flag(|flag| flag.name == name)
            .ok_or_else(|| Error::UnknownFlag(name.into()))?;
        match (value, flag.bare, next) {
            (Some(value), _, _) => self.set(flag, value).map(|()| 0),
            (None, Some(bare), _) => self.set(flag, bare).map(|()| 0),
            (None, None, Some(next)) => self.set(flag, next).map(|()| 1),
            (None, None, None) => Err(Error::NoValue(name.into())),
        }
    }

    /// Takes letters; says how many further words it used.
    fn short(&mut self, letters: &str, next: Option<&String>) -> Result<usize, Error> {
        let mut rest = letters;
        while let Some(letter) = rest.chars().next() {
            let word = rest.to_string();
            rest = &rest[letter.len_utf8()..];
            let flag = self.flag(|flag| flag.short == Some(letter));
            let flag = flag.ok_or_else(|| Error::UnknownShort {
                letter,
                word: word.clone(),
            })?;
            if let Some(value) = rest.strip_prefix('=') {
                return self.set(flag, value).map(|()| 0);
            }
            if let Some(bare) = flag.bare {
                self.set(flag, bare)?;
            } else if !rest.is_empty() {
                return self.set(flag, rest).map(|()| 0);
            } else {
                return match next {
                    Some(next) => self.set(flag, next).map(|()| 1),
                    None => Err(Error::NoShortValue { letter, word }),
                };
            }
        }
        Ok(0)
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), Error> {
        let value = check(flag, value)?;
        let values = self.flags.entry(flag.name).or_default();
        if flag.kind != Kind::List {
            values.clear();
        }
        values.push(value);
        Ok(())
    }
}

/// The command that the first words name, and where those words stand.
///
/// Flags between them are passed over: with their values, where a value is a word of its own.
fn find_command(words: &[String]) -> (&'static Command, Vec<usize>) {
    let (mut command, mut taken): (&'static Command, _) = (&tree::ROOT, Vec::new());
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "--" || (!word.starts_with('-') && !command.is_group()) {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            at += if takes_next(command, word) { 2 } else { 1 };
            continue;
        }
        let child = if command.path.is_empty() && word == "help" {
            Some(&tree::HELP)
        } else {
            tree::child(command.path, word)
        };
        let Some(child) = child else { break };
        command = child;
        taken.push(at);
        at += 1;
    }
    (command, taken)
}

fn takes_next(command: &Command, word: &str) -> bool {
    let flag = match word.strip_prefix("--") {
        Some(name) => command.all_flags().find(|flag| flag.name == name),
        None => match word[1..].chars().collect::<Vec<_>>().as_slice() {
            [letter] => command.all_flags().find(|flag| flag.short == Some(*letter)),
            _ => None,
        },
    };
    flag.is_some_and(|flag| flag.bare.is_none())
}

/// The value in its plain form, where the flag takes it.
fn check(flag: &Flag, value: &str) -> Result<String, Error> {
    let wrong = |parser, reason| {
        let name = match flag.short {
            Some(short) => format!("-{short}, --{}", flag.name),
            None => format!("--{}", flag.name),
        };
        Err(Error::BadValue {
            value: value.into(),
            flag: name,
            parser,
            reason,
        })
    };
    match flag.kind {
        Kind::Text | Kind::List => Ok(value.into()),
        Kind::Switch => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".into()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".into()),
            _ => wrong("ParseBool", "invalid syntax"),
        },
        Kind::Signed => match number(value, true) {
            Some(number) if i64::try_from(number).is_ok() => Ok(number.to_string()),
            Some(_) => wrong("ParseInt", "value out of range"),
            None => wrong("ParseInt", "invalid syntax"),
        },
        Kind::Unsigned => match number(value, false) {
            Some(number) if u32::try_from(number).is_ok() => Ok(number.to_string()),
            Some(_) => wrong("ParseUint", "value out of range"),
            None => wrong("ParseUint", "invalid syntax"),
        },
    }
}

/// A whole number, in any of the bases that its first characters choose.
fn number(text: &str, signed: bool) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) if signed => (true, digits),
        Some(_) => return None,
        None => (
            false,
            if signed {
                text.strip_prefix('+').unwrap_or(text)
            } else {
                text
            },
        ),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)]
        .iter()
        .find_map(|(start, base)| {
            lower
                .strip_prefix(start)
                .filter(|rest| !rest.is_empty())
                .map(|rest| (rest, *base))
        })
        .unwrap_or((&lower, 10));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    Some(if negative { -value } else { value })
}

/// Whether a mistyped word may stand for a name: at most two letters wrong, or the start of it.
fn is_near(typed: &str, name: &str) -> bool {
    name.to_lowercase().starts_with(&typed.to_lowercase()) || distance(typed, name) <= 2
}

/// How many letters must be added, dropped or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().collect(),
        b.to_lowercase().chars().collect(),
    );
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        parse(&line.split(' ').map(String::from).collect::<Vec<_>>()).unwrap()
    }

    fn error(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        match parse(&words) {
            Ok(parsed) => unknown_command(&parsed).map_or_else(String::new, |error| error.to_string()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn flags_stand_anywhere_before_the_dashes() {
        let line = parsed("--project p exec c1 --debug -n --env A=1 --env=B=2 -- ls --help");
        assert_eq!(line.command.path, "exec");
        assert_eq!(line.arguments, ["c1", "ls", "--help"]);
        assert_eq!(line.flags["env"], ["A=1", "B=2"]);
        assert_eq!(line.flags["project"], ["p"]);
        assert!(line.flags.contains_key("debug") && !line.flags.contains_key("help"));
    }

    #[test]
    fn letters_are_read_together() {
        let line = parsed("list -qfcsv -c=ns");
        assert_eq!(
            (
                line.flags["format"][0].as_str(),
                line.flags["columns"][0].as_str()
            ),
            ("csv", "ns")
        );
        assert!(line.flags.contains_key("quiet"));
        assert_eq!(parsed("list -f csv").flags["format"], ["csv"]);
        assert_eq!(parsed("launch a --console b").arguments, ["a", "b"]);
    }

    #[test]
    fn names_and_their_aliases_lead_to_commands() {
        for (line, path) in [
            ("ls", "list"),
            ("image alias ls", "image alias list"),
            ("cp a b", "copy"),
            ("config", "config"),
        ] {
            assert_eq!(parsed(line).command.path, path);
        }
        assert_eq!(parsed("-q config --debug device ls c1").arguments, ["c1"]);
    }

    #[test]
    fn mistakes_read_like_the_reference() {
        for (line, text) in [
            ("foo", "unknown command \"foo\" for \"lxc\""),
            (
                "lisst",
                "unknown command \"lisst\" for \"lxc\"\n\nDid you mean this?\n\tlist\n",
            ),
            ("config se x", "unknown command \"se\" for \"lxc config\""),
            ("list --zz", "unknown flag: --zz"),
            ("list -Z", "unknown shorthand flag: 'Z' in -Z"),
            ("stop -fx c", "unknown shorthand flag: 'x' in -x"),
            ("list -c", "flag needs an argument: 'c' in -c"),
            ("list --format", "flag needs an argument: --format"),
            ("list --=x", "bad flag syntax: --=x"),
            ("list ---", "bad flag syntax: ---"),
            (
                "stop -f=yes c",
                "invalid argument \"yes\" for \"-f, --force\" flag: strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
            (
                "stop --timeout=x c",
                "invalid argument \"x\" for \"--timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "exec c --user=-1 -- ls",
                "invalid argument \"-1\" for \"--user\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
        ] {
            assert_eq!(error(line), text, "{line}");
        }
    }
}
