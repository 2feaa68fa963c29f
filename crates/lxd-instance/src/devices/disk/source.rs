//! Where a disk comes from, and how it is made ready on the host for a guest to take.

use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};

use lxd_sys::mount::{self, Options};
use lxd_sys::userns;

use crate::devices::{Device, Host};
use crate::error::Error;

/// What a disk shows.
#[derive(Debug, Clone)]
pub(super) struct Source {
    path: PathBuf,
    /// Whether files there belong to ids inside, so that the mount must map them.
    maps_ids: bool,
}

/// How a disk was made ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) is_file: bool,
}

impl Source {
    /// Finds the source; none if it is not there and need not be.
    pub(super) async fn find(host: &Host, device: &Device) -> Result<Option<Self>, Error> {
        let name = device.value("source").unwrap_or_default();
        let shift = device.is_set("shift");
        let found = match device.value("pool") {
            Some(pool) => {
                let mounted = host.storage.mount_volume(&device.instance, pool, name).await;
                let volume = mounted.map_err(Error::Port)?;
                Self {
                    path: volume.path,
                    maps_ids: volume.needs_idmap || shift,
                }
            }
            None => Self {
                path: name.into(),
                maps_ids: shift,
            },
        };
        if found.path.exists() {
            return Ok(Some(found));
        }
        if device.is_unset("required") || device.is_set("optional") {
            return Ok(None);
        }
        let text = format!("Missing source path {:?} for disk {:?}", name, device.name);
        Err(Error::MissingSource(text))
    }

    /// Mounts it at a place, which a guest's root can reach.
    pub(super) fn show(&self, device: &Device, place: &Path) -> Result<Shown, Error> {
        let kind = std::fs::metadata(&self.path)
            .map_err(Error::file("look at", &self.path))?
            .file_type();
        let is_file = !kind.is_dir() && !kind.is_block_device();
        // What a crash has left there is not this start's.
        super::remove(place)?;
        if let Some(folder) = place.parent() {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(folder);
            made.map_err(Error::file("create", folder))?;
        }
        let made = match is_file {
            true => std::fs::File::create(place).map(drop),
            false => std::fs::create_dir(place),
        };
        made.map_err(Error::file("create", place))?;
        let options = Options::parse(device.value("raw.mount.options").unwrap_or_default())
            .read_only(device.is_set("readonly"));
        if kind.is_block_device() {
            let fstype = fstype(&self.path)?;
            mount::filesystem(&self.path, place, &fstype, &options).map_err(Error::Mount)?;
            if self.maps_ids {
                self.map_in_place(device, place)?;
            }
        } else {
            self.bind(device, place, &options)?;
        }
        let word = device.value("propagation").unwrap_or("rslave");
        mount::propagate(place, word).map_err(Error::Mount)?;
        Ok(Shown { is_file })
    }

    fn bind(&self, device: &Device, place: &Path, options: &Options) -> Result<(), Error> {
        let recursive = device.is_set("recursive");
        let tree = mount::open_tree(&self.path, recursive).map_err(Error::Mount)?;
        self.map_ids(device, tree.as_fd(), recursive)?;
        options.apply(tree.as_fd(), recursive).map_err(Error::Mount)?;
        mount::attach(tree.as_fd(), place).map_err(Error::Mount)
    }

    /// Gives a mount that is attached already an id map, by way of a copy.
    fn map_in_place(&self, device: &Device, place: &Path) -> Result<(), Error> {
        let tree = mount::open_tree(place, false).map_err(Error::Mount)?;
        self.map_ids(device, tree.as_fd(), false)?;
        mount::detach(place).map_err(Error::Mount)?;
        mount::attach(tree.as_fd(), place).map_err(Error::Mount)
    }

    fn map_ids(
        &self,
        device: &Device,
        tree: std::os::fd::BorrowedFd<'_>,
        recursive: bool,
    ) -> Result<(), Error> {
        let Some(map) = device.instance.idmap.as_ref().filter(|_| self.maps_ids) else {
            return Ok(());
        };
        let userns = userns::create(map).map_err(Error::Userns)?;
        mount::set_idmap(tree, userns.as_fd(), recursive).map_err(|error| {
            tracing::debug!(device = device.name, %error, "The file system maps no ids");
            Error::DeviceValue("Required idmapping abilities not available".into())
        })
    }
}

/// The type of the file system on a block device, by its signature.
fn fstype(device: &Path) -> Result<String, Error> {
    use std::os::unix::fs::FileExt;
    // The superblocks of the file systems that Linux has lie in the first 128 KiB.
    let mut bytes = vec![0; 128 << 10];
    let file = std::fs::File::open(device).map_err(Error::file("open", device))?;
    let length = file.read_at(&mut bytes, 0).map_err(Error::file("read", device))?;
    bytes.truncate(length);
    match signature(&bytes) {
        Some(fstype) => Ok(fstype.to_owned()),
        None => Err(Error::DeviceValue(format!(
            "Failed getting source filesystem type {:?}: Unknown signature",
            device.display().to_string()
        ))),
    }
}

/// What a superblock says.
fn signature(bytes: &[u8]) -> Option<&'static str> {
    let has = |at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
    if has(0, b"XFSB") {
        return Some("xfs");
    }
    if has(0x1_0040, b"_BHRfS_M") {
        return Some("btrfs");
    }
    if has(0, b"hsqs") {
        return Some("squashfs");
    }
    if has(0x400, &[0xe2, 0xe1, 0xf5, 0xe0]) {
        return Some("erofs");
    }
    if has(0x400, &[0x10, 0x20, 0xf5, 0xf2]) {
        return Some("f2fs");
    }
    if has(0x8001, b"CD001") {
        return Some("iso9660");
    }
    if has(3, b"NTFS    ") {
        return Some("ntfs3");
    }
    if has(0x36, b"FAT1") || has(0x52, b"FAT32") {
        return Some("vfat");
    }
    if has(0x438, &[0x53, 0xef]) {
        // Extents make it ext4, a journal alone ext3.
        let word = |at: usize| {
            bytes
                .get(at..at + 4)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u32::from_le_bytes)
        };
        let (compatible, incompatible) = (word(0x45c), word(0x460));
        return Some(match (incompatible & 0x2c0 != 0, compatible & 0x4 != 0) {
            (true, _) => "ext4",
            (false, true) => "ext3",
            (false, false) => "ext2",
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_told_apart() {
        let disk = |at: usize, magic: &[u8]| {
            let mut bytes = vec![0; 128 << 10];
            bytes[at..at + magic.len()].copy_from_slice(magic);
            bytes
        };
        assert_eq!(signature(&disk(0, b"XFSB")), Some("xfs"));
        assert_eq!(signature(&disk(0x1_0040, b"_BHRfS_M")), Some("btrfs"));
        let mut ext = disk(0x438, &[0x53, 0xef]);
        assert_eq!(signature(&ext), Some("ext2"));
        ext[0x460] = 0x40;
        assert_eq!(signature(&ext), Some("ext4"));
        assert_eq!(signature(&disk(0, b"garbage")), None);
        assert_eq!(signature(b"short"), None);
    }
}
