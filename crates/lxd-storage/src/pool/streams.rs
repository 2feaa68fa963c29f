//! Volumes in the form that only their driver knows, in and out of backup archives.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::volumes::Staged;
use super::{Inner, Pool};
use crate::drivers::{self, Streams};
use crate::error::StorageError;
use crate::images::pack::Packer;
use crate::images::{Decoder, Members};
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

/// One stream of an archive, as its header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    /// Where it is in the volume.
    pub path: String,
    /// The snapshot whose volume it is; empty for the one that the backup is of.
    pub snapshot: String,
    /// Whether nobody can write into it.
    pub readonly: bool,
    /// The file system's name for it.
    #[serde(default)]
    pub uuid: String,
}

impl StreamHeader {
    /// The whole volume of a snapshot, or the one that the backup is of for no name.
    pub fn whole(snapshot: &str) -> Self {
        Self {
            path: "/".into(),
            snapshot: snapshot.to_owned(),
            readonly: !snapshot.is_empty(),
            uuid: String::new(),
        }
    }

    /// Its name in an archive.
    pub fn file(&self, names: StreamNames) -> String {
        let base = match self.snapshot.as_str() {
            "" => names.volume.to_owned(),
            snapshot => format!("{}/{snapshot}", names.snapshots),
        };
        match self.path.trim_matches('/') {
            "" => format!("{base}.bin"),
            below => format!("{base}_{}.bin", below.replace('/', "-")),
        }
    }
}

/// What the streams of an archive are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamNames {
    /// The stream of the volume that the backup is of, without its ending: `backup/container`.
    pub volume: &'static str,
    /// The directory of those of its snapshots.
    pub snapshots: &'static str,
}

/// Volumes as they were at one moment, until it is dropped.
pub struct Held {
    pool: Arc<Inner>,
    _directory: Staged,
    parts: Vec<HeldPart>,
}

struct HeldPart {
    header: StreamHeader,
    held: PathBuf,
    /// The same of the snapshot before.
    parent: Option<PathBuf>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("parts", &self.headers())
            .finish_non_exhaustive()
    }
}

impl Held {
    /// What the archive's header says.
    pub fn headers(&self) -> Vec<StreamHeader> {
        self.parts.iter().map(|part| part.header.clone()).collect()
    }

    /// Adds all streams to an archive; each lies in the directory `scratch` first, since archives want sizes beforehand.
    ///
    /// # Errors
    /// The disk; the archive can't be written; the caller has cancelled.
    pub fn pack<W: std::io::Write>(
        &self,
        packer: &mut Packer<W>,
        names: StreamNames,
        scratch: &Path,
    ) -> Result<(), StorageError> {
        let streams = self.pool.streams()?;
        for part in &self.parts {
            let file = tempfile::Builder::new().prefix("stream-").tempfile_in(scratch);
            let file = file.map_err(|e| StorageError::io("creating a file in", scratch, e))?;
            streams.send(&part.held, part.parent.as_deref(), file.as_file())?;
            packer.small_file(file.path(), &part.header.file(names))?;
        }
        Ok(())
    }
}

impl Pool {
    /// Whether its driver has a form of its own for volumes.
    pub fn has_streams(&self) -> bool {
        self.inner.driver.streams().is_some()
    }

    /// Holds volumes as they are now: snapshots by their names, the oldest first, and then the one they are of, without a name.
    ///
    /// # Errors
    /// The driver has no such form; a volume is not there; the disk.
    pub async fn hold(&self, volumes: Vec<(String, Volume)>) -> Result<Held, StorageError> {
        self.blocking(move |pool| pool.hold(&volumes)).await
    }

    /// Makes volumes of the streams of an archive: snapshots by their names, and the one they are of without one. Where it fails
    /// some volumes may be there: delete them.
    ///
    /// # Errors
    /// The archive is broken, or made by another kind of pool; a volume exists; the disk; cancelled.
    pub async fn receive(
        &self,
        archive: PathBuf,
        names: StreamNames,
        headers: Vec<StreamHeader>,
        volumes: Vec<(String, Volume)>,
        watch: Watch,
    ) -> Result<(), StorageError> {
        self.blocking(move |pool| pool.receive(&archive, names, &headers, &volumes, &watch))
            .await
    }
}

impl Inner {
    fn streams(&self) -> Result<&dyn Streams, StorageError> {
        let streams = self.driver.streams();
        streams.ok_or_else(|| StorageError::refused("Optimized backups are not possible with this pool"))
    }

    fn hold(self: &Arc<Self>, volumes: &[(String, Volume)]) -> Result<Held, StorageError> {
        let streams = self.streams()?;
        let directory = self.stage()?;
        let mut parts: Vec<HeldPart> = Vec::new();
        let mut before: Vec<drivers::Part> = Vec::new();
        for (snapshot, volume) in volumes {
            self.require(volume)?;
            let held = streams.hold(&self.place.volume(volume), directory.path())?;
            for part in &held {
                let parent = before.iter().find(|old| old.path == part.path);
                parts.push(HeldPart {
                    header: StreamHeader {
                        path: part.path.clone(),
                        snapshot: snapshot.clone(),
                        readonly: part.read_only,
                        uuid: part.uuid.clone(),
                    },
                    held: part.held.clone(),
                    parent: parent.map(|old| old.held.clone()),
                });
            }
            before = held;
        }
        Ok(Held {
            pool: Arc::clone(self),
            _directory: directory,
            parts,
        })
    }

    fn receive(
        self: &Arc<Self>,
        archive: &Path,
        names: StreamNames,
        headers: &[StreamHeader],
        volumes: &[(String, Volume)],
        watch: &Watch,
    ) -> Result<(), StorageError> {
        let streams = self.streams()?;
        let directory = self.stage()?;
        let mut received: Vec<(&StreamHeader, drivers::Part)> = Vec::new();
        let mut members = Members::new(Decoder::open_ahead(archive)?);
        while let Some(member) = members.next_member()? {
            let name = String::from_utf8_lossy(&member.path).into_owned();
            // Two places may have one name: `a/b` and `a-b`.
            let is_taken =
                |header: &StreamHeader| received.iter().any(|(taken, _)| std::ptr::eq(*taken, header));
            let is_it = |header: &&StreamHeader| name == header.file(names) && !is_taken(header);
            let Some(header) = headers.iter().find(is_it) else {
                continue;
            };
            let held = streams.receive(&mut Data(&mut members), directory.path(), watch)?;
            received.push((header, part(header, held)));
        }
        for (snapshot, volume) in volumes {
            let own = received.iter().filter(|(header, _)| header.snapshot == *snapshot);
            let mut parts: Vec<drivers::Part> = own.map(|(_, part)| part.clone()).collect();
            // What lies in another comes after it; the volume itself is first.
            parts.sort_by(|a, b| a.path.cmp(&b.path));
            self.assemble(volume, &parts)?;
        }
        Ok(())
    }

    fn assemble(self: &Arc<Self>, volume: &Volume, parts: &[drivers::Part]) -> Result<(), StorageError> {
        if parts.first().is_none_or(|part| part.path != "/") {
            let place = volume.relative_path();
            return Err(StorageError::refused(format!(
                "The archive has no stream of {place:?}"
            )));
        }
        let streams = self.streams()?;
        self.make(volume, |staged| {
            streams.assemble(staged, parts)?;
            match volume.kind {
                // Its content is the user's, whatever it is.
                VolumeType::Custom => Ok(()),
                _ => super::volumes::require_root(staged),
            }
        })
    }
}

fn part(header: &StreamHeader, held: PathBuf) -> drivers::Part {
    drivers::Part {
        path: header.path.clone(),
        read_only: header.readonly,
        uuid: header.uuid.clone(),
        held,
    }
}

/// What the present member of an archive has.
struct Data<'a, R>(&'a mut Members<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_data(buffer).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_archives_are_those_of_the_reference() {
        let names = StreamNames {
            volume: "backup/volume",
            snapshots: "backup/volume-snapshots",
        };
        let header = |path: &str, snapshot: &str| StreamHeader {
            path: path.into(),
            ..StreamHeader::whole(snapshot)
        };
        let name = |path, snapshot| header(path, snapshot).file(names);
        assert_eq!(name("/", ""), "backup/volume.bin");
        assert_eq!(name("/rootfs/nest/ro", ""), "backup/volume_rootfs-nest-ro.bin");
        assert_eq!(name("/", "s2"), "backup/volume-snapshots/s2.bin");
        assert_eq!(
            name("/rootfs/nest", "s2"),
            "backup/volume-snapshots/s2_rootfs-nest.bin"
        );
        assert!(header("/", "s").readonly && !header("/", "").readonly);
    }
}
