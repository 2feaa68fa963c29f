//! Where a new pool is to be: what 5.0 asks about drivers that make file systems.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use crate::command_line::DEFAULT_DIR;
use crate::commands::answers::{Answers, not_empty};

/// Drivers whose pools are directories: nothing is asked about these.
const DIRECTORIES: [&str; 2] = ["dir", "overlay"];

const GIB: u64 = 1 << 30;

/// Asks where a pool of the driver is to be; gives its configuration.
///
/// # Errors
/// The answers end too early.
pub(super) fn ask<R: BufRead, W: Write>(
    answers: &mut Answers<R, W>,
    driver: &str,
) -> Result<BTreeMap<String, String>, String> {
    let mut config = BTreeMap::new();
    if DIRECTORIES.contains(&driver) {
        return Ok(config);
    }
    let shown = driver.to_uppercase();
    if !answers.yes(&format!("Create a new {shown} pool?"), true)? {
        let question = format!("Name of the existing {shown} pool or dataset");
        config.insert("source".into(), answers.text(&question, None, not_empty)?);
        return Ok(config);
    }
    let question = "Would you like to use an existing empty block device (e.g. a disk or partition)?";
    if answers.yes(question, false)? {
        let device = answers.text("Path to the existing block device", None, block_device)?;
        config.insert("source".into(), device);
        return Ok(config);
    }
    let question = "Size in GiB of the new loop device (1GiB minimum)";
    let size = answers.text(question, Some(&default_size()), gibibytes)?;
    config.insert("size".into(), size);
    Ok(config)
}

fn block_device(path: &str) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_block_device() => Ok(path.to_owned()),
        _ => Err(format!("{path:?} is not a block device")),
    }
}

fn gibibytes(answer: &str) -> Result<String, String> {
    let number = answer.strip_suffix("GiB").unwrap_or(answer);
    match number.parse::<i64>() {
        Ok(size) if size >= 1 => Ok(format!("{size}GiB")),
        Ok(_) => Err("Minimum size is 1GiB".into()),
        Err(_) => Err(format!("strconv.ParseInt: parsing {number:?}: invalid syntax")),
    }
}

/// What the daemon takes unless it is told otherwise: a fifth of what is free, from 5 to 30 GiB.
fn default_size() -> String {
    let root = std::env::var_os("LXD_DIR").filter(|dir| !dir.is_empty());
    let root = root.map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from);
    let free = rustix::fs::statvfs(&root).map_or(0, |stat| stat.f_bfree.saturating_mul(stat.f_frsize));
    format!("{}GiB", (free / 5 / GIB).clamp(5, 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(driver: &str, input: &str) -> (Result<BTreeMap<String, String>, String>, String) {
        let mut output = Vec::new();
        let result = ask(&mut Answers::new(input.as_bytes(), &mut output), driver);
        (result, String::from_utf8(output).unwrap())
    }

    #[test]
    fn the_questions_are_those_of_the_reference() {
        assert_eq!(asked("dir", ""), (Ok(BTreeMap::new()), String::new()));
        let (config, text) = asked("btrfs", "\n\n0\nx\n6\n");
        assert_eq!(config.unwrap()["size"], "6GiB");
        assert!(
            text.starts_with(
                "Create a new BTRFS pool? (yes/no) [default=yes]: Would you like to use an existing empty block device \
                 (e.g. a disk or partition)? (yes/no) [default=no]: Size in GiB of the new loop device (1GiB minimum) [default="
            ),
            "{text}"
        );
        let (config, text) = asked("btrfs", "no\n\n/mnt/pool\n");
        assert_eq!(config.unwrap()["source"], "/mnt/pool");
        assert!(
            text.contains("Name of the existing BTRFS pool or dataset: "),
            "{text}"
        );
        assert_eq!(asked("btrfs", "yes\nyes\n/dev/null\n").0.unwrap_err(), "EOF");
        let config = asked("btrfs", "\n\n\n").0.unwrap();
        assert!(config["size"].ends_with("GiB"), "{config:?}");
    }
}
