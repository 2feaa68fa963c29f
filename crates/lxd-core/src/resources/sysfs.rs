//! Reading the kernel's small files: missing ones are empty, numbers that are none are zero.

use std::path::{Path, PathBuf};

/// The root that `/sys` and `/proc` are beneath: another one in tests.
pub(super) struct Host {
    root: PathBuf,
    /// Version of the kernel, which drivers without one of their own have.
    release: String,
}

/// What drives a device.
#[derive(Default)]
pub(super) struct Driver {
    pub(super) name: String,
    pub(super) version: String,
}

impl Host {
    pub(super) fn real() -> Self {
        Self::at(Path::new("/"), lxd_sys::system::kernel().release)
    }

    pub(super) fn at(root: &Path, release: String) -> Self {
        let root = root.to_owned();
        Self { root, release }
    }

    /// A path of the host.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The driver of a device's directory.
    pub(super) fn driver(&self, device: &Path) -> Driver {
        let name = link(&device.join("driver"));
        if name.is_empty() {
            return Driver::default();
        }
        let own = text(&self.path("sys/module").join(&name).join("version"));
        let version = if own.is_empty() { self.release.clone() } else { own };
        Driver { name, version }
    }
}

/// A file's text without white space around it.
pub(super) fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .trim_matches(['\0', ' ', '\n', '\t'])
        .to_owned()
}

/// A file with a number.
pub(super) fn number(path: &Path) -> u64 {
    text(path).parse().unwrap_or(0)
}

/// A file with a number that may be negative for "none", which is zero.
pub(super) fn node(device: &Path) -> u64 {
    number(&device.join("numa_node"))
}

/// A file with a hexadecimal number such as `0x8086`, without its prefix.
pub(super) fn hex_id(path: &Path) -> String {
    let text = text(path);
    text.strip_prefix("0x").unwrap_or(&text).to_owned()
}

/// The last part of where a link leads.
pub(super) fn link(path: &Path) -> String {
    let target = std::fs::read_link(path).unwrap_or_default();
    target
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The entries of a directory in the order of their names, numbers in them by value.
pub(super) fn entries(path: &Path) -> Vec<(String, PathBuf)> {
    let read = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut entries: Vec<(String, PathBuf)> = read
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    entries.sort_by_cached_key(|(name, _)| {
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let number: u64 = name[word.len()..].parse().unwrap_or(0);
        (word, number, name.clone())
    });
    entries
}

/// The address on the PCI or USB bus of a device or of what it hangs on.
pub(super) fn bus_address(device: &Path, is_address: fn(&str) -> bool) -> String {
    let real = std::fs::canonicalize(device).unwrap_or_default();
    let mut parts = real.iter().filter_map(|part| part.to_str());
    parts
        .rfind(|part| is_address(part))
        .unwrap_or_default()
        .to_owned()
}

/// `0000:00:1f.2`
pub(super) fn is_pci(part: &str) -> bool {
    let pieces: Vec<&str> = part.split([':', '.']).collect();
    part.len() >= 12
        && pieces.len() == 4
        && pieces
            .iter()
            .all(|piece| !piece.is_empty() && piece.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The number of the bus and of the device on it, of the USB device that a device is or hangs on: `1:4`.
pub(super) fn usb_address(device: &Path) -> String {
    let real = std::fs::canonicalize(device).unwrap_or_default();
    let usb = real.ancestors().find(|path| path.join("busnum").exists());
    usb.map(|path| {
        format!(
            "{}:{}",
            number(&path.join("busnum")),
            number(&path.join("devnum"))
        )
    })
    .unwrap_or_default()
}
