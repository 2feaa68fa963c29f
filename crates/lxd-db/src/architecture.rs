//! The numbers that stand for architectures in the databases.

use crate::{Error, Result};

/// Names by number; the numbers are part of the schema.
const NAMES: [&str; 13] = [
    "unknown", "i686", "x86_64", "armv7l", "aarch64", "ppc", "ppc64", "ppc64le", "s390x", "mips", "mips64",
    "riscv32", "riscv64",
];

/// The number for an architecture's name, as the kernel writes it (`x86_64`).
///
/// # Errors
/// [`Error::Invalid`] for a name that is not known.
pub fn id(name: &str) -> Result<i64> {
    let found = NAMES
        .iter()
        .position(|known| *known == name)
        .filter(|index| *index > 0);
    found
        .map(|index| index as i64)
        .ok_or_else(|| Error::Invalid(format!("Architecture isn't supported: {name}")))
}

/// The name for a stored number.
///
/// # Errors
/// [`Error::Stored`] for a number without a name.
pub fn name(id: i64) -> Result<&'static str> {
    let found = usize::try_from(id).ok().and_then(|index| NAMES.get(index));
    found.copied().ok_or_else(|| Error::Stored {
        value: id.to_string(),
        wanted: "an architecture",
    })
}

/// The architecture that this program runs on.
pub fn local() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc" => "ppc",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference() {
        assert_eq!(id("x86_64").unwrap(), 2);
        assert_eq!(name(4).unwrap(), "aarch64");
        assert!(id("unknown").is_err() && id("vax").is_err() && name(99).is_err() && name(-1).is_err());
        assert!(id(local()).is_ok());
    }
}
