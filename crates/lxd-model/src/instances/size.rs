//! Sizes of instances in a word: `c2-m4` stands for two CPUs and 4 GiB.

use crate::Invalid;
use crate::config::Config;

/// The limits that an instance type of the form `c<CPUS>-m<GIB>` stands for. Parts may be fractions, and either may be left out.
///
/// # Errors
/// It has not that form, or a number in it is none.
pub fn limits(instance_type: &str) -> Result<Config, Invalid> {
    let is_part = |part: &str| {
        let mut letters = part.chars();
        matches!(letters.next(), Some('c' | 'm'))
            && letters.next().is_some_and(|second| second.is_ascii_digit())
    };
    if !instance_type.split('-').all(is_part) {
        return Err(Invalid::new(format!(
            "Provided instance type doesn't exist: {instance_type}"
        )));
    }
    let mut limits = Config::new();
    for part in instance_type.split('-') {
        let (resource, number) = part.split_at(1);
        let number: f64 = number
            .parse()
            .map_err(|_| Invalid::new(format!("Bad custom instance type: {instance_type}")))?;
        if number == 0.0 {
            continue;
        }
        if resource == "m" {
            limits.insert(
                "limits.memory".to_owned(),
                format!("{:.0}MB", (number * 1024.0).floor()),
            );
            continue;
        }
        let cpus = number.ceil();
        limits.insert("limits.cpu".to_owned(), format!("{cpus:.0}"));
        if cpus > number {
            let allowance = (number / cpus * 100.0).floor();
            limits.insert("limits.cpu.allowance".to_owned(), format!("{allowance:.0}%"));
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::limits;

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
            let limits = limits(word).unwrap();
            let limits: Vec<String> = limits
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            assert_eq!(limits.join(" "), wanted, "{word}");
        }
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
            let error = limits(word).unwrap_err().to_string();
            assert_eq!(error, format!("Provided instance type doesn't exist: {word}"));
        }
        for word in ["m512MB", "c2-m4x", "c2m4"] {
            let error = limits(word).unwrap_err().to_string();
            assert_eq!(error, format!("Bad custom instance type: {word}"));
        }
    }
}
