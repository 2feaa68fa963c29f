//! Volumes as `btrfs send` writes them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lxd_sys::btrfs;
use lxd_sys::command::{Command, Stream};

use super::{Btrfs, TOOL};
use crate::drivers::{Part, Streams};
use crate::error::StorageError;
use crate::tools;
use crate::volume::VolumeType;
use crate::watch::Watch;

/// Bytes that are passed on at a time.
const CHUNK: usize = 256 * 1024;

/// Names of what was received; streams have their own.
const RECEIVED: &str = ".part-";

impl Streams for Btrfs {
    fn hold(&self, volume: &Path, into: &Path) -> Result<Vec<Part>, StorageError> {
        let mut paths = vec![PathBuf::new()];
        paths.extend(btrfs::nested(volume)?);
        // The names of the held subvolumes are in the streams: those that the reference's have.
        let whole = match volume.parent().and_then(Path::file_name) {
            Some(folder) if is_of_no_snapshot(folder) => OsStr::new(".backup"),
            _ => volume.file_name().unwrap_or_default(),
        };
        let mut parts = Vec::new();
        for below in paths {
            // Joining nothing would end the path with a slash.
            let source = match below.as_os_str().is_empty() {
                true => volume.to_owned(),
                false => volume.join(&below),
            };
            let Some(path) = below.to_str() else {
                tracing::warn!(path = ?source, "A subvolume whose name is not text is left out of a backup");
                continue;
            };
            let folder = free_name(into, "held-");
            fs::create_dir(&folder).map_err(|e| StorageError::io("creating the directory", &folder, e))?;
            let held = folder.join(below.file_name().unwrap_or(whole));
            btrfs::snapshot(&source, &held, true)?;
            let info = btrfs::info(&source)?;
            parts.push(Part {
                path: format!("/{path}"),
                read_only: info.read_only,
                uuid: btrfs::uuid_text(info.uuid),
                held,
            });
        }
        Ok(parts)
    }

    fn send(&self, part: &Path, parent: Option<&Path>, out: &File) -> Result<(), StorageError> {
        Ok(btrfs::send(part, parent, out.as_fd())?)
    }

    fn receive(&self, stream: &mut dyn Read, into: &Path, watch: &Watch) -> Result<PathBuf, StorageError> {
        // Within a root of its own: a stream may have links, and write through them.
        let command = Command::new(TOOL).args(["receive", "-e", "-C"]).arg(into);
        feed(command, stream, watch)?;
        let entries = fs::read_dir(into).map_err(|e| StorageError::io("listing", into, e))?;
        let is_new = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            !name.starts_with(RECEIVED) && btrfs::is_subvolume(path)
        };
        let mut new = entries.flatten().map(|entry| entry.path()).filter(is_new);
        let (Some(received), None) = (new.next(), new.next()) else {
            return Err(StorageError::refused("A stream of btrfs must make one subvolume"));
        };
        let place = free_name(into, RECEIVED);
        fs::rename(&received, &place).map_err(|e| StorageError::io("renaming", &received, e))?;
        Ok(place)
    }

    fn assemble(&self, staged: &Path, parts: &[Part]) -> Result<(), StorageError> {
        super::volumes::assemble(staged, parts)
    }
}

/// Runs the program with the stream as its input.
fn feed(command: Command, stream: &mut dyn Read, watch: &Watch) -> Result<(), StorageError> {
    let made = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (reader, writer) = made.map_err(|e| StorageError::io("making a pipe for", Path::new(TOOL), e))?;
    let command = command.stdin(Stream::Fd(reader));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| tools::run_for_user(command));
        let passed = pass_on(stream, File::from(writer), watch);
        let ended = running.join();
        let ended = ended.map_err(|_| StorageError::Panicked("receiving a stream".into()))?;
        passed.and(ended)
    })
}

/// Writes the stream to the program's input, which then ends.
fn pass_on(stream: &mut dyn Read, mut input: File, watch: &Watch) -> Result<(), StorageError> {
    let failed = |e: io::Error| StorageError::io("passing on a stream to", Path::new(TOOL), e);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            count => count.map_err(failed)?,
        };
        let (head, _) = buffer.split_at(count);
        match input.write_all(head) {
            // The program says why it has ended.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(failed)?,
        }
        if !watch.advance(count as u64) {
            return Err(StorageError::Cancelled);
        }
    }
}

/// Whether a directory has the volumes of instances, or those that users made; none of snapshots.
fn is_of_no_snapshot(folder: &OsStr) -> bool {
    [VolumeType::Container, VolumeType::Custom]
        .iter()
        .any(|kind| folder == kind.directory().0)
}

/// A name that is not in use yet.
fn free_name(directory: &Path, prefix: &str) -> PathBuf {
    let names = (0_u64..).map(|number| directory.join(format!("{prefix}{number}")));
    let mut free = names.filter(|path| path.symlink_metadata().is_err());
    free.next().unwrap_or_else(|| directory.join(prefix))
}
