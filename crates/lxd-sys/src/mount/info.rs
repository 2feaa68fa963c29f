//! The mounts of this process's mount namespace, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::MountError;

/// One line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Unique among the mounts that exist.
    pub id: u64,
    /// The mount that it is mounted on.
    pub parent: u64,
    /// The part of the file system that is seen.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Options of this mount, such as `rw,relatime`.
    pub options: String,
    /// The type, such as `ext4`.
    pub fstype: String,
    /// The device or what else was given as source.
    pub source: String,
}

/// All mounts, in the order of the kernel's list (a mount comes after the one it is mounted on).
pub fn mounts() -> Result<Vec<Mount>, MountError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(path).map_err(|e| MountError::call("reading", path, e))?;
    Ok(parse_mountinfo(&text))
}

/// The mounts at `root` and below it, in the order in which they were made.
pub fn mounts_beneath(root: &Path) -> Result<Vec<Mount>, MountError> {
    let mut found = mounts()?;
    found.retain(|mount| mount.target.starts_with(root));
    Ok(found)
}

/// Reads the text of mountinfo; lines that don't have the promised shape are left out.
pub fn parse_mountinfo(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let _device = fields.next()?;
    let root = path(fields.next()?);
    let target = path(fields.next()?);
    let options = text(fields.next()?);
    // Any number of optional fields, ended by a lone dash.
    fields.by_ref().find(|field| *field == b"-")?;
    let fstype = text(fields.next()?);
    let source = text(fields.next()?);
    Some(Mount {
        id,
        parent,
        root,
        target,
        options,
        fstype,
        source,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = tail
        {
            out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = after;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}
