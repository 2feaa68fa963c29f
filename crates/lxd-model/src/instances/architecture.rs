//! Processor architectures: their names, numbers in the database, and who runs whose programs.

use crate::Invalid;

/// Names as the API knows them, in the order of their numbers, which start at one.
pub const NAMES: &[&str] = &[
    "i686", "x86_64", "armv7l", "aarch64", "ppc", "ppc64", "ppc64le", "s390x", "mips", "mips64", "riscv32",
    "riscv64", "armv6l", "armv8l",
];

/// Other names, used by distributions and Go, with ours.
const ALIASES: &[(&str, &str)] = &[
    ("i386", "i686"),
    ("i586", "i686"),
    ("386", "i686"),
    ("x86", "i686"),
    ("generic_32", "i686"),
    ("amd64", "x86_64"),
    ("generic_64", "x86_64"),
    ("armhf", "armv7l"),
    ("armel", "armv7l"),
    ("armhfp", "armv7l"),
    ("armv7a_hardfp", "armv7l"),
    ("armv7", "armv7l"),
    ("armv7a_vfpv3_hardfp", "armv7l"),
    ("arm64", "aarch64"),
    ("powerpc", "ppc"),
    ("powerpc64", "ppc64"),
    ("ppc64el", "ppc64le"),
    ("arm", "armv6l"),
    ("armv6", "armv6l"),
];

/// The number of an architecture, by its name or another's name for it.
pub fn id(name: &str) -> Result<i64, Invalid> {
    let own = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, own)| own);
    let place = NAMES.iter().position(|known| *known == own);
    let place = place.ok_or_else(|| Invalid::new(format!("Architecture isn't supported: {name}")))?;
    Ok(i64::try_from(place).unwrap_or(i64::MAX - 1) + 1)
}

/// The name of a number.
pub fn name(id: i64) -> Result<&'static str, Invalid> {
    let place = usize::try_from(id - 1).ok();
    let name = place.and_then(|place| NAMES.get(place)).copied();
    name.ok_or_else(|| Invalid::new(format!("Architecture isn't supported: {id}")))
}

/// The architectures whose programs a host also runs, its own first.
pub fn personalities(host: &str) -> Vec<&'static str> {
    let others: &[&str] = match host {
        "x86_64" => &["i686"],
        "aarch64" => &["armv8l", "armv7l", "armv6l"],
        "armv8l" => &["armv7l", "armv6l"],
        "armv7l" => &["armv6l"],
        "ppc64" => &["ppc"],
        "mips64" => &["mips"],
        "riscv64" => &["riscv32"],
        _ => &[],
    };
    let own = NAMES.iter().filter(|name| **name == host);
    own.chain(others).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        for (place, known) in NAMES.iter().enumerate() {
            assert_eq!(id(known).unwrap(), i64::try_from(place).unwrap() + 1);
            assert_eq!(name(id(known).unwrap()).unwrap(), *known);
        }
        assert_eq!(id("amd64").unwrap(), 2);
        assert_eq!(
            id("foo").unwrap_err().to_string(),
            "Architecture isn't supported: foo"
        );
        assert!(name(0).is_err() && name(99).is_err() && name(i64::MIN + 1).is_err());
        assert_eq!(personalities("x86_64"), ["x86_64", "i686"]);
    }
}
