//! squashfs images, through `unsquashfs`: listed and judged first, then unpacked.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use lxd_sys::command::{Command, Output};

use super::ImageError;
use crate::tools;
use crate::watch::Watch;

/// One line of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Beneath the root of the file system; empty for the root itself.
    pub(super) path: Vec<u8>,
    /// The first letter of the line: `-`, `d`, `l`, `c`, `b`, `p`, `s`.
    pub(super) kind: u8,
    /// Bytes of a file.
    pub(super) size: u64,
    /// Device numbers of a node.
    pub(super) device: (u32, u32),
}

/// All that is in the file system.
pub(super) fn list(image: &Path, watch: &Watch) -> Result<Vec<Entry>, ImageError> {
    let output = run(
        Command::new("unsquashfs").args(["-lln", "-d", ""]).arg(image),
        watch,
    )?;
    output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect()
}

/// The content of one file.
pub(super) fn read(image: &Path, member: &str) -> Result<Vec<u8>, ImageError> {
    Ok(run(
        Command::new("unsquashfs").arg("-cat").arg(image).arg(member),
        &Watch::none(),
    )?
    .stdout)
}

/// Unpacks everything into `target`, an existing directory.
pub(super) fn unpack(image: &Path, target: &Path, watch: &Watch) -> Result<(), ImageError> {
    run(
        Command::new("unsquashfs")
            .args(["-f", "-n", "-q", "-d"])
            .arg(target)
            .arg(image),
        watch,
    )?;
    Ok(())
}

/// `-rw-r--r-- 0/0    12 2024-01-01 00:00 /path`, with two numbers for devices, and ` -> target` for links.
fn parse(line: &[u8]) -> Result<Entry, ImageError> {
    let bad = || ImageError::member(line, "unsquashfs lists it in an unknown form");
    let kind = *line.first().ok_or_else(bad)?;
    if !b"-dlcbps".contains(&kind) {
        return Err(bad());
    }
    let mut rest = line;
    let mut field = || -> Result<String, ImageError> {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let (head, tail) = rest.split_at(end);
        rest = tail;
        Ok(String::from_utf8_lossy(head).into_owned())
    };
    let _permissions = field()?;
    let _owner = field()?;
    let mut device = (0, 0);
    let mut size = 0;
    if matches!(kind, b'c' | b'b') {
        let first = field()?;
        // "254,  0" or "254,0"
        let (major, minor) = match first.strip_suffix(',') {
            Some(major) => (major.to_owned(), field()?),
            None => first
                .split_once(',')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .ok_or_else(bad)?,
        };
        device = (
            major.parse().map_err(|_| bad())?,
            minor.parse().map_err(|_| bad())?,
        );
    } else {
        size = field()?.parse().map_err(|_| bad())?;
    }
    let (_date, _time) = (field()?, field()?);
    let mut path = rest.strip_prefix(b" ").unwrap_or(rest);
    if kind == b'l'
        && let Some(arrow) = path.windows(4).position(|w| w == b" -> ")
    {
        path = path.get(..arrow).unwrap_or_default();
    }
    let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
    Ok(Entry {
        path,
        kind,
        size,
        device,
    })
}

/// Runs to the end from a thread that may block; the program is killed when the work is cancelled.
fn run(command: Command, watch: &Watch) -> Result<Output, ImageError> {
    tools::run(command, watch)?.ok_or(ImageError::Cancelled)
}

impl Entry {
    pub(super) fn relative(&self) -> std::path::PathBuf {
        OsString::from_vec(self.path.clone()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_is_understood() {
        let file = parse(b"-rw-r--r-- 0/0                12 2024-01-01 00:00 /etc/host name").unwrap();
        assert_eq!((file.path.as_slice(), file.size), (&b"etc/host name"[..], 12));
        let node = parse(b"crw-rw-rw- 0/0             1,  3 2024-01-01 00:00 /dev/null").unwrap();
        assert_eq!((node.kind, node.device), (b'c', (1, 3)));
        let link = parse(b"lrwxrwxrwx 0/0                 7 2024-01-01 00:00 /bin -> usr/bin").unwrap();
        assert_eq!(link.path, b"bin");
        assert!(parse(b"garbage").is_err());
    }
}
