//! One device node: made on the host in the instance's folder of devices, shown inside at its own path.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lxd_sys::cgroup::DeviceRule;
use lxd_sys::mount::{self, BindOptions};
use rustix::fs::{CWD, FileType, Mode, major, makedev, minor, mknodat};

use crate::devices::{Device, Mount, encode};
use crate::error::Error;

/// The first part of the names of nodes in the folder of devices.
fn prefix(device: &Device) -> &'static str {
    match device.value("type") {
        Some("infiniband") => "infiniband.unix",
        _ => "unix",
    }
}

/// A node of the host for an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    /// Where it is inside, absolute.
    pub(crate) path: String,
    /// Whether it is a block device; else a character device.
    pub(crate) is_block: bool,
    /// Its numbers.
    pub(crate) major: u32,
    /// Its numbers.
    pub(crate) minor: u32,
}

/// Who may use a node, as ids of the host.
pub(super) struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Owner {
    /// What a device's configuration says.
    pub(super) fn of(device: &Device) -> Result<Self, Error> {
        let id = |key: &str| -> Result<u32, Error> {
            let text = device.value(key).unwrap_or("0");
            let bad = |_| Error::DeviceValue(format!("Invalid value for {key}: {text:?}"));
            text.parse().map_err(bad)
        };
        let mode = device.value("mode").unwrap_or("0660");
        let mode = u32::from_str_radix(mode, 8)
            .map_err(|_| Error::DeviceValue(format!("Invalid value for mode: {mode:?}")))?;
        Ok(Self {
            mode: mode & 0o7777,
            uid: device.instance.host_uid(id("uid")?),
            gid: device.instance.host_gid(id("gid")?),
        })
    }
}

impl Node {
    /// The node at a path of the host, none if nothing is there.
    pub(super) fn at(host: &Path, inside: &str) -> Result<Option<Self>, Error> {
        let found = match std::fs::metadata(host) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("look at", host)(error)),
        };
        let kind = found.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return Ok(None);
        }
        Ok(Some(Self {
            path: inside.to_owned(),
            is_block: kind.is_block_device(),
            major: major(found.rdev()),
            minor: minor(found.rdev()),
        }))
    }

    /// What the instance's control group must let through.
    pub(super) fn rule(&self) -> DeviceRule {
        DeviceRule {
            is_block: self.is_block,
            major: self.major,
            minor: self.minor,
        }
    }

    pub(super) fn mount(&self, device: &Device) -> Mount {
        Mount {
            source: device.file(prefix(device), &self.path),
            target: Path::new(self.path.trim_start_matches('/')).to_owned(),
            is_file: true,
            removes_target: true,
            ..Mount::default()
        }
    }

    /// Makes it in the folder of devices, in the place of what is there.
    pub(crate) fn make(&self, device: &Device) -> Result<(), Error> {
        let file = device.file(prefix(device), &self.path);
        let owner = Owner::of(device)?;
        if let Some(folder) = file.parent() {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(folder);
            made.map_err(Error::file("create", folder))?;
        }
        remove(&file)?;
        let kind = match self.is_block {
            true => FileType::BlockDevice,
            false => FileType::CharacterDevice,
        };
        let made = mknodat(
            CWD,
            &file,
            kind,
            Mode::from_raw_mode(owner.mode),
            makedev(self.major, self.minor),
        );
        match made {
            Ok(()) => {}
            // A daemon in a container of its own makes no nodes, but may show those it has.
            Err(rustix::io::Errno::PERM) => return self.borrow(&file),
            Err(error) => return Err(Error::file("create", &file)(error.into())),
        }
        std::os::unix::fs::lchown(&file, Some(owner.uid), Some(owner.gid))
            .map_err(Error::file("change the owner of", &file))?;
        // The process's mask has cut the mode.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(owner.mode))
            .map_err(Error::file("change the mode of", &file))
    }

    fn borrow(&self, file: &Path) -> Result<(), Error> {
        std::fs::File::create(file).map_err(Error::file("create", file))?;
        mount::bind(Path::new(&self.path), file, BindOptions::default()).map_err(Error::Mount)
    }

    /// Removes it from the folder of devices.
    pub(super) fn remove(&self, device: &Device) -> Result<(), Error> {
        remove(&device.file(prefix(device), &self.path))
    }
}

/// The nodes that were made for a device.
pub(crate) fn made(device: &Device) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    for (file, path) in files(device)? {
        nodes.extend(Node::at(&file, &path)?);
    }
    nodes.sort();
    Ok(nodes)
}

/// Removes all nodes of a device.
pub(crate) fn clear(device: &Device) -> Result<(), Error> {
    files(device)?.iter().try_for_each(|(file, _)| remove(file))
}

/// The files of a device, with the paths inside that their names stand for.
fn files(device: &Device) -> Result<Vec<(PathBuf, String)>, Error> {
    let folder = &device.instance.paths.devices;
    let prefix = format!("{}.{}.", prefix(device), encode(&device.name));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", folder)(error)),
    };
    let own = device
        .value("path")
        .or_else(|| device.value("source"))
        .unwrap_or_default();
    let own_part = encode(own.trim_start_matches('/'));
    let of_device = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let part = name.strip_prefix(&prefix)?;
        // Where a part of a path begins with a dash, two paths have one name.
        let path = if part == own_part {
            own.to_owned()
        } else {
            decode(part)
        };
        Some((entry.path(), path))
    };
    Ok(entries.filter_map(of_device).collect())
}

/// The path that [`encode`] has made a part of a file's name of.
fn decode(part: &str) -> String {
    let mut path = String::from("/");
    let mut rest = part.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter != '-' {
            path.push(letter);
        } else if rest.next_if_eq(&'-').is_some() {
            path.push('-');
        } else {
            path.push('/');
        }
    }
    path
}

fn remove(file: &Path) -> Result<(), Error> {
    mount::detach(file).map_err(Error::Mount)?;
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", file)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::device;
    use super::*;

    #[test]
    fn names_lead_back_to_paths() {
        for path in ["/dev/a", "/dev/a-b/c", "/dev/bus/usb/001/002"] {
            assert_eq!(decode(&encode(path.trim_start_matches('/'))), path);
        }
    }

    #[test]
    fn owners_are_those_inside() {
        let wanted = device(Path::new("/x"), &[("uid", "5"), ("gid", "6"), ("mode", "0600")]);
        let owner = Owner::of(&wanted).unwrap();
        assert_eq!((owner.uid, owner.gid, owner.mode), (1_000_005, 1_000_006, 0o600));
        let plain = Owner::of(&device(Path::new("/x"), &[])).unwrap();
        assert_eq!((plain.uid, plain.mode), (1_000_000, 0o660));
        for bad in [("mode", "9"), ("uid", "x"), ("gid", "-1")] {
            assert!(Owner::of(&device(Path::new("/x"), &[bad])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nodes_are_made_found_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let device = device(root.path(), &[("mode", "0604")]);
        let mut node = Node::at(Path::new("/dev/zero"), "/dev/my-zero").unwrap().unwrap();
        assert_eq!((node.major, node.minor, node.is_block), (1, 5, false));
        node.make(&device).unwrap();
        assert_eq!(made(&device).unwrap(), [node.clone()]);
        let file = root.path().join("devices/c1/unix.d.dev-my--zero");
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (1_000_000, 0o604));
        node.minor = 7;
        node.make(&device).unwrap();
        assert_eq!(made(&device).unwrap(), [node.clone()], "another one in its place");
        clear(&device).unwrap();
        clear(&device).unwrap();
        assert!(made(&device).unwrap().is_empty() && !file.exists());
        assert_eq!(Node::at(Path::new("/etc"), "/x").unwrap(), None);
        assert_eq!(Node::at(Path::new("/nonexistent"), "/x").unwrap(), None);
    }
}
