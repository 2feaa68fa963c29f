//! The first block of a btrfs: whether a device or file has one, and whose.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where it is.
const OFFSET: u64 = 64 * 1024;

/// What is of interest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The file system's UUID, as text.
    pub uuid: String,
}

/// The superblock of a device or file; none if it has no btrfs or can't be read.
pub fn superblock(device: &Path) -> Option<Superblock> {
    let mut block = [0; 0x48];
    File::open(device).ok()?.read_exact_at(&mut block, OFFSET).ok()?;
    parse(&block)
}

/// The block device of the file system with this UUID.
pub fn find_by_uuid(uuid: &str) -> Option<PathBuf> {
    let link = Path::new("/dev/disk/by-uuid").join(uuid);
    if link.exists() {
        return Some(link);
    }
    // Where nobody keeps the links the devices themselves are asked.
    let entries = std::fs::read_dir("/sys/class/block").ok()?;
    let devices = entries
        .flatten()
        .map(|entry| Path::new("/dev").join(entry.file_name()));
    let mut found = devices.filter(|device| superblock(device).is_some_and(|block| block.uuid == uuid));
    found.next()
}

fn parse(block: &[u8]) -> Option<Superblock> {
    if block.get(0x40..0x48)? != b"_BHRfS_M" {
        return None;
    }
    Some(Superblock {
        uuid: uuid_text(block.get(0x20..0x30)?.try_into().ok()?),
    })
}

/// A UUID as people write it.
pub fn uuid_text(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_is_read() {
        let mut block = vec![0; 0x48];
        assert_eq!(parse(&block), None);
        block[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        block[0x20] = 0xab;
        let found = parse(&block).unwrap();
        assert_eq!(found.uuid, "ab000000-0000-0000-0000-000000000000");
    }
}
