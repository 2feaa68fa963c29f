//! Volumes of a pool: made in a staging directory, put in place by one rename, taken away by another.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lxd_sys::mount;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Cleaned, Inner};
use crate::drivers::{Driver, Place, VolumeSource, projects};
use crate::error::StorageError;
use crate::volume::{Volume, VolumeType};
use crate::watch::Watch;

/// A directory in the making; removed when dropped before it was published.
pub(super) struct Staged {
    path: Option<PathBuf>,
    driver: Arc<dyn Driver>,
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or_else(|| Path::new("/nonexistent"))
    }

    /// Gives the directory its name, which must be free.
    pub(super) fn publish(mut self, target: &Path) -> Result<(), StorageError> {
        if let Some(parent) = target.parent() {
            crate::drivers::make_parent(parent)?;
        }
        rename_new(self.path(), target)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = self.driver.remove_directory(path)
        {
            tracing::warn!(%error, "A half-made volume stays until the next start");
        }
    }
}

/// Directories to be removed for good.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) trash: Vec<PathBuf>,
}

impl Inner {
    pub(super) fn stage(&self) -> Result<Staged, StorageError> {
        let staging = self.staging()?;
        let made = tempfile::Builder::new().prefix("new-").tempdir_in(&staging);
        let made = made.map_err(|e| StorageError::io("creating a directory in", &staging, e))?;
        let path = made.keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))
            .map_err(|e| StorageError::io("changing the mode of", &path, e))?;
        Ok(Staged {
            path: Some(path),
            driver: Arc::clone(&self.driver),
        })
    }

    pub(super) fn staging(&self) -> Result<PathBuf, StorageError> {
        let staging = self.place.staging();
        crate::drivers::make_private(&staging)?;
        Ok(staging)
    }

    pub(super) fn create_volume(
        &self,
        volume: &Volume,
        source: &VolumeSource,
        watch: &Watch,
    ) -> Result<(), StorageError> {
        let lock = match source {
            VolumeSource::Image { fingerprint } => Some(self.image_lock(fingerprint)),
            _ => None,
        };
        let _shared = lock.as_ref().map(|lock| lock.read());
        match source {
            VolumeSource::Empty => {}
            VolumeSource::Image { fingerprint }
                if self.driver.find_image(&self.place, fingerprint)?.is_none() =>
            {
                return Err(self.not_found(&Volume::image(fingerprint)));
            }
            VolumeSource::Volume(from) => self.require(from)?,
            _ => {}
        }
        self.make(volume, |staged| self.fill_kind(volume, staged, source, watch))
    }

    /// Fails if the volume is not there.
    pub(super) fn require(&self, volume: &Volume) -> Result<(), StorageError> {
        match self.place.volume(volume).is_dir() {
            true => Ok(()),
            false => Err(self.not_found(volume)),
        }
    }

    /// Stages, fills, publishes and links a volume; on failure nothing is left.
    pub(super) fn make(
        &self,
        volume: &Volume,
        fill: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let target = self.place.volume(volume);
        if target.symlink_metadata().is_ok() {
            let (kind, name) = (volume.kind.word(), volume.name.clone());
            return Err(StorageError::VolumeExists {
                kind,
                name,
                pool: self.place.name.clone(),
            });
        }
        let staged = self.fill(volume, fill)?;
        staged.publish(&target)?;
        let done = link(&self.place, volume).and_then(|()| self.driver.seal_volume(&self.place, volume));
        if done.is_err() {
            self.driver.remove_directory(&target)?;
            unlink(&self.place, volume)?;
        }
        done
    }

    /// A volume's directory in the making, with all that belongs to it.
    pub(super) fn fill(
        &self,
        volume: &Volume,
        fill: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<Staged, StorageError> {
        let staged = self.stage()?;
        fill(staged.path())?;
        let mode = match volume.kind {
            VolumeType::Container | VolumeType::VirtualMachine => 0o100,
            VolumeType::Image => 0o711,
            // Its directory is the user's: root's with mode 0711 where it is new, else what it was.
            VolumeType::Custom => return Ok(staged),
        };
        rustix::fs::chown(
            staged.path(),
            Some(rustix::fs::Uid::ROOT),
            Some(rustix::fs::Gid::ROOT),
        )
        .or_else(|e| {
            if e == rustix::io::Errno::PERM {
                Ok(())
            } else {
                Err(e)
            }
        })
        .map_err(|e| StorageError::io("changing the owner of", staged.path(), e))?;
        fs::set_permissions(staged.path(), fs::Permissions::from_mode(mode))
            .map_err(|e| StorageError::io("changing the mode of", staged.path(), e))?;
        Ok(staged)
    }

    pub(super) fn rename_volume(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        let _idle = self.wait_for_readers(from)?;
        if self.driver.is_mounted(&self.place, from) {
            return Err(self.busy(from));
        }
        let (old, new) = (self.place.volume(from), self.place.volume(to));
        if old.symlink_metadata().is_err() {
            return Err(self.not_found(from));
        }
        rename_new(&old, &new).map_err(|error| match error {
            StorageError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                let (kind, name) = (to.kind.word(), to.name.clone());
                StorageError::VolumeExists {
                    kind,
                    name,
                    pool: self.place.name.clone(),
                }
            }
            error => error,
        })?;
        // The snapshots of an instance or volume lie in a directory of its name.
        let moved = match (from.snapshot.is_none(), from.kind.snapshots_directory()) {
            (true, Some((directory, _))) => {
                let below = self.place.root().join(directory);
                let (old, new) = (below.join(&from.name), below.join(&to.name));
                if old.is_dir() {
                    rename_new(&old, &new)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        };
        let done = moved
            .and_then(|()| self.link_all(to))
            .and_then(|()| self.unlink_all(from));
        if done.is_err() {
            rename_new(&new, &old)?;
            self.unlink_all(to)?;
            self.link_all(from)?;
        }
        done
    }

    /// The links to a volume and to the directory of its snapshots, if it has some.
    fn link_all(&self, volume: &Volume) -> Result<(), StorageError> {
        link(&self.place, volume)?;
        let snapshots = volume.with_snapshot("");
        match self.place.volume(&snapshots).is_dir() {
            true if volume.snapshot.is_none() => link(&self.place, &snapshots),
            _ => Ok(()),
        }
    }

    fn unlink_all(&self, volume: &Volume) -> Result<(), StorageError> {
        unlink(&self.place, volume)?;
        unlink(&self.place, &volume.with_snapshot(""))
    }

    /// Makes the volume disappear, and its snapshots with it; the result is what is left to remove.
    pub(super) fn take_away(&self, volume: &Volume) -> Result<Removal, StorageError> {
        let mut removal = self.take_one_away(volume)?;
        for snapshot in self.snapshots_of(volume)? {
            removal.trash.extend(self.take_one_away(&snapshot)?.trash);
        }
        Ok(removal)
    }

    /// The snapshots that are on disk.
    fn snapshots_of(&self, volume: &Volume) -> Result<Vec<Volume>, StorageError> {
        if volume.snapshot.is_some() || volume.kind.snapshots_directory().is_none() {
            return Ok(Vec::new());
        }
        let directory = self.place.volume(&volume.with_snapshot(""));
        let failed = |e| StorageError::io("listing", &directory, e);
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let names = entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
        let names: Result<Vec<String>, _> = names.collect();
        let names = names.map_err(failed)?;
        Ok(names.iter().map(|name| volume.with_snapshot(name)).collect())
    }

    fn take_one_away(&self, volume: &Volume) -> Result<Removal, StorageError> {
        let _idle = self.wait_for_readers(volume)?;
        let directory = self.place.volume(volume);
        let mut trash = Vec::new();
        if directory.symlink_metadata().is_ok() {
            self.driver.unmount_volume(&self.place, volume)?;
            mount_free(&directory)?;
            let discarded = self.discard(&directory)?;
            let fingerprints = self.driver.release_volume(&self.place, &discarded);
            trash.push(discarded);
            for image in fingerprints? {
                trash.push(self.discard(&image)?);
            }
        }
        if volume.snapshot.is_some()
            && let Some(parent) = directory.parent()
        {
            // The last snapshot takes the directory with it; it is not empty otherwise.
            let _ = fs::remove_dir(parent);
        }
        unlink(&self.place, volume)?;
        Ok(Removal { trash })
    }

    /// Moves a directory to where nobody sees it. That takes no room, for who deletes may do so because there is none.
    pub(super) fn discard(&self, directory: &Path) -> Result<PathBuf, StorageError> {
        let staging = self.staging()?;
        self.driver.unseal(directory)?;
        let moved = tempfile::Builder::new()
            .prefix("old-")
            .make_in(&staging, |place| {
                Ok(renameat_with(CWD, directory, CWD, place, RenameFlags::NOREPLACE)?)
            });
        let failed = |e| StorageError::io("renaming", directory, e);
        let place = moved.map_err(failed)?.into_temp_path();
        place.keep().map_err(|e| failed(e.error))
    }

    /// Removes for good behind the caller's back, whom [`Self::settle`] lets wait for it.
    pub(super) fn remove_behind(self: &Arc<Self>, removal: Removal) {
        *self.removing.lock() += 1;
        let inner = Arc::clone(self);
        let remove = move || inner.remove(removal);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }

    fn remove(&self, removal: Removal) {
        for path in removal.trash {
            if let Err(error) = self.remove_for_good(&path) {
                tracing::warn!(%error, "A removed volume stays on disk until the next start");
            }
        }
        let mut removing = self.removing.lock();
        *removing -= 1;
        if *removing == 0 {
            self.removing_changed.notify_all();
        }
    }

    /// Removes a directory that was a volume's, and its limit.
    fn remove_for_good(&self, path: &Path) -> Result<(), StorageError> {
        let project = projects::of_removed(path);
        self.driver.remove_directory(path)?;
        projects::forget(&self.place.root(), project)
    }

    pub(super) fn settle(&self) {
        let mut removing = self.removing.lock();
        self.removing_changed
            .wait_while(&mut removing, |removing| *removing > 0);
    }

    pub(super) fn write_backup_file(&self, volume: &Volume, content: &[u8]) -> Result<(), StorageError> {
        let directory = self.place.volume(volume);
        let path = directory.join("backup.yaml");
        let failed = |e: std::io::Error| StorageError::io("writing", &path, e);
        projects::count_root_only(&directory)?;
        let mut file = tempfile::Builder::new()
            .prefix(".backup.yaml-")
            .tempfile_in(&directory)
            .map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o400))
            .map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    pub(super) fn clean_leftovers(&self, running: &[Volume]) -> Result<Cleaned, StorageError> {
        let mut cleaned = Cleaned::default();
        let mut errors: Vec<StorageError> = Vec::new();
        let root = self.place.root();
        let entrances = self.place.entrances();
        let kept: Vec<PathBuf> = running
            .iter()
            .flat_map(|volume| {
                [
                    self.place.volume(volume).join("rootfs"),
                    self.place.entrance(volume),
                ]
            })
            .collect();
        let wanted = |target: &Path| target == root || kept.iter().any(|rootfs| target.starts_with(rootfs));
        let mut mounts = mount::mounts_beneath(&root)?;
        mounts.extend(mount::mounts_beneath(&entrances)?);
        for mounted in mounts.iter().rev().filter(|mounted| !wanted(&mounted.target)) {
            match mount::detach(&mounted.target) {
                Ok(()) => cleaned.mounts += 1,
                Err(e) => errors.push(e.into()),
            }
        }
        if let Ok(entries) = fs::read_dir(&entrances) {
            for entry in entries.flatten() {
                // Mount points in use are busy and stay.
                let _ = fs::remove_dir(entry.path());
            }
        }
        let staging = self.place.staging();
        if let Ok(entries) = fs::read_dir(&staging) {
            for entry in entries {
                let path = entry
                    .map_err(|e| StorageError::io("listing", &staging, e))?
                    .path();
                // A removal that was under way may have been the last user of a deleted image.
                match self.driver.release_volume(&self.place, &path) {
                    Ok(more) => {
                        errors.extend(more.iter().filter_map(|p| self.driver.remove_directory(p).err()))
                    }
                    Err(e) => errors.push(e),
                }
                match self.remove_for_good(&path) {
                    Ok(()) => cleaned.directories += 1,
                    Err(e) => errors.push(e),
                }
            }
        }
        StorageError::collect(errors).map(|()| cleaned)
    }

    pub(super) fn busy(&self, volume: &Volume) -> StorageError {
        StorageError::VolumeBusy {
            name: volume.name.clone(),
            pool: self.place.name.clone(),
        }
    }

    pub(super) fn not_found(&self, volume: &Volume) -> StorageError {
        let (kind, name) = (volume.kind.word(), volume.name.clone());
        StorageError::VolumeNotFound {
            kind,
            name,
            pool: self.place.name.clone(),
        }
    }
}

/// The instance's link beneath LXD_DIR.
pub(super) fn link(place: &Place, volume: &Volume) -> Result<(), StorageError> {
    let Some((link, target)) = volume.link() else {
        return Ok(());
    };
    let (link, target) = (place.lxd_dir.join(link), place.root().join(target));
    if fs::read_link(&link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        crate::drivers::make_parent(parent)?;
    }
    match fs::remove_file(&link) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(StorageError::io("replacing", &link, e));
        }
        _ => {}
    }
    symlink(&target, &link).map_err(|e| StorageError::io("linking", &link, e))
}

/// Removes the link, unless it leads to something that is still there, here or in another pool.
fn unlink(place: &Place, volume: &Volume) -> Result<(), StorageError> {
    let Some((link, target)) = volume.link() else {
        return Ok(());
    };
    let (link, target) = (place.lxd_dir.join(link), place.root().join(target));
    if target.symlink_metadata().is_ok() || link.exists() {
        return Ok(());
    }
    match fs::remove_file(&link) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io("removing", &link, e)),
        _ => Ok(()),
    }
}

/// Refuses a volume that came from an archive without a directory for a root: a link would lead the container elsewhere.
pub(super) fn require_root(directory: &Path) -> Result<(), StorageError> {
    let root = directory.join("rootfs");
    match root.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        _ => Err(StorageError::refused("The backup has no root file system")),
    }
}

/// Renames a directory to a name that must be free.
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<(), StorageError> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    renameat_with(CWD, from, CWD, to, flags).map_err(|e| StorageError::io("renaming to", to, e))
}

/// Detaches whatever else is mounted in a directory that is about to go.
fn mount_free(directory: &Path) -> Result<(), StorageError> {
    let (_, failures) = mount::detach_beneath(directory);
    StorageError::collect(failures.into_iter().map(StorageError::from).collect())
}
