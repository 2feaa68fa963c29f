//! Sizes of instances in a word: `c2-m4` stands for two CPUs and 4 GiB, and lists of clouds' sizes give names to others.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::Config;
use crate::{Invalid, yaml};

/// The named sizes of clouds: by the cloud's name, then by the size's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct NamedSizes(BTreeMap<String, Option<BTreeMap<String, Option<Size>>>>);

/// What an instance of a size gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Size {
    /// CPUs; a part of one is allowed.
    cpu: f64,
    /// Memory in GiB.
    mem: f64,
}

impl NamedSizes {
    /// Reads the file in which the reference keeps them.
    ///
    /// # Errors
    /// It is not such a file.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        yaml::from_str(text).map_err(|error| Invalid::new(error.to_string()))
    }

    /// The size that a word names, with or without its cloud.
    fn find(&self, word: &str) -> Result<Option<Size>, Invalid> {
        let of = |sizes: &Option<BTreeMap<String, Option<Size>>>, name: &str| {
            let found = sizes.as_ref().and_then(|sizes| sizes.get(name));
            found.map(|size| size.unwrap_or_default())
        };
        if let Some((cloud, name)) = word.split_once(':') {
            let found = self.0.get(cloud).and_then(|sizes| of(sizes, name));
            return found.map(Some).ok_or_else(|| unknown(word));
        }
        let mut found = self.0.values().filter_map(|sizes| of(sizes, word));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Invalid::new(format!("Ambiguous instance type provided: {word}"))),
            (found, _) => Ok(found),
        }
    }
}

/// The limits that an instance type stands for: a named size, or one of the form `c<CPUS>-m<GIB>`. Parts may be fractions, and
/// either may be left out.
///
/// # Errors
/// Nobody or more than one has a size of that name, and it has not that form, or a number in it is none.
pub fn limits(instance_type: &str, named: &NamedSizes) -> Result<Config, Invalid> {
    let size = match named.find(instance_type)? {
        Some(size) => size,
        None => spelt_out(instance_type)?,
    };
    let mut limits = Config::new();
    if size.mem > 0.0 {
        let megabytes = (size.mem * 1024.0).floor();
        limits.insert("limits.memory".to_owned(), format!("{megabytes:.0}MB"));
    }
    if size.cpu > 0.0 {
        let cpus = size.cpu.ceil();
        limits.insert("limits.cpu".to_owned(), format!("{cpus:.0}"));
        if cpus > size.cpu {
            let allowance = (size.cpu / cpus * 100.0).floor();
            limits.insert("limits.cpu.allowance".to_owned(), format!("{allowance:.0}%"));
        }
    }
    Ok(limits)
}

/// The size whose numbers a word gives.
fn spelt_out(word: &str) -> Result<Size, Invalid> {
    let is_part = |part: &str| {
        let mut letters = part.chars();
        matches!(letters.next(), Some('c' | 'm'))
            && letters.next().is_some_and(|second| second.is_ascii_digit())
    };
    if !word.split('-').all(is_part) {
        return Err(unknown(word));
    }
    let mut size = Size::default();
    for part in word.split('-') {
        let (resource, number) = part.split_at(1);
        let number = number
            .parse()
            .map_err(|_| Invalid::new(format!("Bad custom instance type: {word}")))?;
        if resource == "m" {
            size.mem = number;
        } else {
            size.cpu = number;
        }
    }
    Ok(size)
}

fn unknown(word: &str) -> Invalid {
    Invalid::new(format!("Provided instance type doesn't exist: {word}"))
}

#[cfg(test)]
mod tests {
    use super::{NamedSizes, limits};
    use crate::config::Config;

    const LIST: &str = "aws:\n  t2.micro: {cpu: 1, mem: 1}\n  t2.nano: {cpu: 0.05, mem: 0.5}\n  none:\n\
        gce:\n  t2.micro: {cpu: 4, mem: 15}\n  c3-m3: {cpu: 7}\nempty:\n";

    fn told(limits: &Config) -> String {
        let each = limits.iter().map(|(key, value)| format!("{key}={value}"));
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn sizes_are_those_of_the_reference() {
        let cases = [
            ("c2-m4", "limits.cpu=2 limits.memory=4096MB"),
            ("m4-c2", "limits.cpu=2 limits.memory=4096MB"),
            (
                "c0.5-m0.2",
                "limits.cpu=1 limits.cpu.allowance=50% limits.memory=204MB",
            ),
            (
                "c1.5-m1.5",
                "limits.cpu=2 limits.cpu.allowance=75% limits.memory=1536MB",
            ),
            ("c1", "limits.cpu=1"),
            ("m2", "limits.memory=2048MB"),
            ("c0-m0", ""),
            ("c1-c2", "limits.cpu=2"),
        ];
        for (word, wanted) in cases {
            let limits = limits(word, &NamedSizes::default()).unwrap();
            assert_eq!(told(&limits), wanted, "{word}");
        }
    }

    #[test]
    fn named_sizes_go_before_those_spelt_out() {
        let named = NamedSizes::parse(LIST).unwrap();
        let cases = [
            ("aws:t2.micro", "limits.cpu=1 limits.memory=1024MB"),
            ("gce:t2.micro", "limits.cpu=4 limits.memory=15360MB"),
            (
                "t2.nano",
                "limits.cpu=1 limits.cpu.allowance=5% limits.memory=512MB",
            ),
            ("none", ""),
            ("c3-m3", "limits.cpu=7"),
            ("c3-m4", "limits.cpu=3 limits.memory=4096MB"),
        ];
        for (word, wanted) in cases {
            assert_eq!(told(&limits(word, &named).unwrap()), wanted, "{word}");
        }
        let ambiguous = limits("t2.micro", &named).unwrap_err().to_string();
        assert_eq!(ambiguous, "Ambiguous instance type provided: t2.micro");
        for word in ["empty:", "nope:x", "aws:c1", "T2.nano", "aws"] {
            let error = limits(word, &named).unwrap_err().to_string();
            assert_eq!(error, format!("Provided instance type doesn't exist: {word}"));
        }
        assert!(NamedSizes::parse("aws: [1]").is_err());
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for word in [
            "x",
            "t2.micro",
            "aws:t2.micro",
            "c1-m",
            "c-1-m1",
            "C2-M4",
            " c1-m1",
            "c2-m4-x",
            "",
        ] {
            let error = limits(word, &NamedSizes::default()).unwrap_err().to_string();
            assert_eq!(error, format!("Provided instance type doesn't exist: {word}"));
        }
        for word in ["m512MB", "c2-m4x", "c2m4"] {
            let error = limits(word, &NamedSizes::default()).unwrap_err().to_string();
            assert_eq!(error, format!("Bad custom instance type: {word}"));
        }
    }
}
