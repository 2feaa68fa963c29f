//! Packing trees into tar archives, the way back from unpacking: for published images and backups.

mod compress;
mod cut;
mod header;
mod squashfs;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lxd_sys::path::{Node, Owners, walk};
use lxd_sys::userns::IdMap;
use rustix::fs::FileType;

use super::ImageError;
use super::unpack::allowed_attribute;
use crate::watch::Watch;

pub use compress::{Compressor, Packing};
use header::{Entry, Kind};

/// Bytes that are read from a file at a time.
const CHUNK: usize = 256 * 1024;

/// An archive in the making.
pub struct Packer<W> {
    out: W,
    watch: Watch,
    buffer: Vec<u8>,
    bytes: u64,
}

impl<W: Write> Packer<W> {
    /// An empty archive.
    pub fn new(out: W, watch: Watch) -> Self {
        Self {
            out,
            watch,
            buffer: vec![0; CHUNK],
            bytes: 0,
        }
    }

    /// Adds a file of root's with the given content.
    ///
    /// # Errors
    /// The archive can't be written.
    pub fn file(&mut self, name: &str, content: &[u8]) -> Result<(), ImageError> {
        let mut entry = Entry::file(name.as_bytes(), content.len() as u64);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        entry.mtime = now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
        self.put(&entry.encode())?;
        self.put(content)?;
        self.pad(content.len() as u64)
    }

    /// Adds a directory without what is in it.
    ///
    /// # Errors
    /// As [`Self::tree`].
    pub fn directory(&mut self, path: &Path, name: &str) -> Result<(), ImageError> {
        let stat = rustix::fs::lstat(path).map_err(|e| ImageError::file("examining", path, e.into()))?;
        let mut entry = Entry::file(name.as_bytes(), 0);
        entry.kind = Kind::Directory;
        entry.name.push(b'/');
        (entry.mode, entry.mtime) = (stat.st_mode & 0o7777, stat.st_mtime);
        self.put(&entry.encode())
    }

    /// Adds a regular file of root's, if it is there.
    ///
    /// # Errors
    /// As [`Self::tree`].
    pub fn small_file(&mut self, path: &Path, name: &str) -> Result<(), ImageError> {
        let failed = |e: rustix::io::Errno| ImageError::file("reading", path, e.into());
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = match rustix::fs::open(
            path,
            flags | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        ) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let mut entry = Entry::file(name.as_bytes(), u64::try_from(stat.st_size).unwrap_or(0));
        (entry.mode, entry.mtime) = (stat.st_mode & 0o7777, stat.st_mtime);
        self.put(&entry.encode())?;
        self.content(file, entry.size, path)?;
        self.pad(entry.size)
    }

    /// Adds a tree under a name: the directory itself, and all in it that archives can hold. Ids that `ids` maps are shown
    /// by the tree as those outside, and become those inside. Other mounts are left out.
    ///
    /// # Errors
    /// The tree can't be read, the archive not be written; the caller has cancelled.
    pub fn tree(&mut self, top: &Path, name: &str, ids: Option<&IdMap>) -> Result<(), ImageError> {
        let mut links: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        let owners = Owners::new(ids, None);
        walk(top, &mut |node: &Node<'_>| {
            self.node(node, name, &owners, &mut links)
        })
    }

    /// Ends the archive and gives back what it was written to.
    ///
    /// # Errors
    /// The archive can't be written.
    pub fn finish(mut self) -> Result<W, ImageError> {
        self.put(&[0; 1024])?;
        // Whole records of 20 blocks, as every tar writes them.
        let rest = self.bytes.wrapping_neg() % 10_240;
        self.put(&vec![0; usize::try_from(rest).unwrap_or(0)])?;
        self.out.flush().map_err(writing)?;
        Ok(self.out)
    }

    fn node(
        &mut self,
        node: &Node<'_>,
        prefix: &str,
        owners: &Owners,
        links: &mut HashMap<(u64, u64), Vec<u8>>,
    ) -> Result<(), ImageError> {
        if !self.watch.advance(0) {
            return Err(ImageError::Cancelled);
        }
        let stat = node.stat;
        let mut entry = Entry {
            name: joined(prefix, node.path),
            kind: Kind::File,
            link: Vec::new(),
            size: 0,
            mode: stat.st_mode & 0o7777,
            uid: owners.user(stat.st_uid),
            gid: owners.group(stat.st_gid),
            mtime: stat.st_mtime,
            device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
            xattrs: Vec::new(),
        };
        if node.is_mount_point && node.file_type() != FileType::Directory {
            return Ok(());
        }
        if stat.st_nlink > 1 && node.file_type() != FileType::Directory {
            if let Some(first) = links.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                return self.put(&entry.encode());
            }
            links.insert((stat.st_dev, stat.st_ino), entry.name.clone());
        }
        entry.xattrs = node.xattrs(allowed_attribute).map_err(reading)?;
        for (name, value) in &mut entry.xattrs {
            *value = owners.attribute(name.as_bytes(), value);
        }
        match node.file_type() {
            FileType::RegularFile => return self.regular(node, entry),
            FileType::Directory => {
                entry.kind = Kind::Directory;
                if !entry.name.ends_with(b"/") {
                    entry.name.push(b'/');
                }
            }
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                entry.link = node.read_link().map_err(reading)?.as_bytes().to_vec();
            }
            FileType::Fifo => entry.kind = Kind::Fifo,
            FileType::CharacterDevice => entry.kind = Kind::Character,
            FileType::BlockDevice => entry.kind = Kind::Block,
            // Sockets are nothing without the process behind them.
            _ => return Ok(()),
        }
        self.put(&entry.encode())
    }

    fn regular(&mut self, node: &Node<'_>, mut entry: Entry) -> Result<(), ImageError> {
        let Some(file) = node.open().map_err(reading)? else {
            return Ok(());
        };
        entry.size = u64::try_from(node.stat.st_size).unwrap_or(0);
        self.put(&entry.encode())?;
        self.content(file, entry.size, node.path)?;
        self.pad(entry.size)
    }

    /// Exactly so many bytes of a file, which may grow or shrink meanwhile.
    fn content(&mut self, mut file: File, size: u64, path: &Path) -> Result<(), ImageError> {
        let mut left = size;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let (buffer, _) = self.buffer.split_at_mut(room);
            let read = match file.read(buffer) {
                Ok(0) => {
                    buffer.fill(0);
                    room
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ImageError::file("reading", path, error)),
            };
            left -= read as u64;
            self.bytes += read as u64;
            self.out
                .write_all(buffer.get(..read).unwrap_or_default())
                .map_err(writing)?;
            if !self.watch.advance(read as u64) {
                return Err(ImageError::Cancelled);
            }
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<(), ImageError> {
        let rest = usize::try_from(size.wrapping_neg() % 512).unwrap_or(0);
        self.put(&vec![0; rest])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(writing)
    }
}

/// The name of a thing in the archive.
fn joined(prefix: &str, path: &Path) -> Vec<u8> {
    let mut name = PathBuf::from(prefix);
    if !path.as_os_str().is_empty() {
        name.push(path);
    }
    OsStr::as_bytes(name.as_os_str()).to_vec()
}

fn reading(error: lxd_sys::path::PathError) -> ImageError {
    error.into()
}

fn writing(error: io::Error) -> ImageError {
    // The compressor passes on what the disk said.
    ImageError::Pack { source: error }
}
