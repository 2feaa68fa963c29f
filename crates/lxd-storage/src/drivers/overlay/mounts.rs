//! Mounting the overlay of a volume, with the ids of both layers mapped.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lxd_sys::mount::{self, BindOptions, MountError, OverlayMaps};
use lxd_sys::userns::{self, IdMap};

use super::{Overlay, images};
use crate::drivers::directory::make_directory;
use crate::drivers::{Mounted, Place, View, make_entrance, projects, remove_entrance};
use crate::error::StorageError;
use crate::volume::Volume;

/// The directory in a volume that holds its layer.
pub(super) const STATE: &str = "overlay";
/// The layer.
pub(super) const UPPER: &str = "upper";
/// The kernel's work directory.
pub(super) const WORK: &str = "work";
/// A mount point for the moment of mounting.
pub(super) const SCRATCH: &str = "scratch";
/// The link that says which image is below.
pub(super) const LOWER: &str = "lower";
/// What is below volumes that were made empty.
const EMPTY: &str = "empty";

pub(super) fn mount(
    driver: &Overlay,
    place: &Place,
    volume: &Volume,
    ids: Option<&IdMap>,
) -> Result<Mounted, StorageError> {
    let directory = place.volume(volume);
    let state = state(place, volume)?;
    let lower = lower(place, &directory)?;
    let scratch = state.join(SCRATCH);
    // Whoever was killed in the middle of this left its layer here.
    mount::detach(&scratch)?;
    let maps = match ids {
        None => None,
        Some(ids) => Some((
            driver.maps.userns(ids)?,
            driver.maps.userns(&ids.with_root_outside())?,
        )),
    };
    let rootfs = directory.join("rootfs");
    let overlay = mount::Overlay {
        source: &format!("lxd/{}", volume.name),
        lowers: &[&lower],
        volume: &state,
        upper_name: UPPER,
        work_name: WORK,
        scratch: &scratch,
        maps: maps.as_ref().map(|(lower, upper)| OverlayMaps {
            lower: lower.as_fd(),
            upper: upper.as_fd(),
        }),
    };
    match overlay.mount(&rootfs) {
        // The kernel could not make its own folder in a full volume.
        Err(MountError::ReadOnly { .. }) => {
            projects::unlimited(&directory, || Ok(overlay.mount(&rootfs)?))?;
        }
        mounted => mounted?,
    }
    if ids.is_none() {
        return Ok(Mounted {
            rootfs,
            mapped: false,
        });
    }
    let entered = make_entrance(place, volume).and_then(|entrance| {
        mount::bind(&rootfs, &entrance, BindOptions::default())?;
        Ok(entrance)
    });
    match entered {
        Ok(rootfs) => Ok(Mounted { rootfs, mapped: true }),
        Err(error) => {
            unmount(place, volume)?;
            Err(error)
        }
    }
}

/// The merged tree, whoever else has mounted it.
pub(super) fn view(place: &Place, volume: &Volume) -> Result<View, StorageError> {
    let directory = place.volume(volume);
    let state = state(place, volume)?;
    let (upper, lower) = (state.join(UPPER), lower(place, &directory)?);
    let source = format!("lxd/{}", volume.name);
    let mount = mount::overlay_view(&source, &[&upper, &lower], &state.join(SCRATCH))?;
    Ok(View::mounted(directory, mount, "."))
}

fn state(place: &Place, volume: &Volume) -> Result<PathBuf, StorageError> {
    let state = place.volume(volume).join(STATE);
    if state.is_dir() {
        return Ok(state);
    }
    let (kind, name) = (volume.kind.word(), volume.name.clone());
    Err(StorageError::VolumeNotFound {
        kind,
        name,
        pool: place.name.clone(),
    })
}

/// The layer beneath: an image, or nothing.
fn lower(place: &Place, directory: &Path) -> Result<PathBuf, StorageError> {
    match images::lower_of(directory) {
        Some(fingerprint) => Ok(images::existing(place, &fingerprint)?.join("rootfs")),
        None => {
            let empty = directory.join(STATE).join(EMPTY);
            make_directory(&empty, 0o755)?;
            Ok(empty)
        }
    }
}

pub(super) fn unmount(place: &Place, volume: &Volume) -> Result<(), StorageError> {
    let directory = place.volume(volume);
    remove_entrance(place, volume)?;
    mount::detach(&directory.join("rootfs"))?;
    Ok(mount::detach(&directory.join(STATE).join(SCRATCH))?)
}

pub(super) fn is_mounted(place: &Place, volume: &Volume) -> bool {
    mount::is_mountpoint(&place.volume(volume).join("rootfs"))
}

/// Whether pools can be here: the kernel has overlayfs, which takes this file system as upper layer, and ids can be mapped.
pub(super) fn probe(root: &Path) -> Result<(), StorageError> {
    let probe = tempfile::Builder::new().prefix(".lxd-probe-").tempdir_in(root);
    let probe = probe.map_err(|e| StorageError::io("creating a directory in", root, e))?;
    let at = |name: &str| -> PathBuf { probe.path().join(name) };
    for name in ["lower", UPPER, WORK, SCRATCH, "target"] {
        make_directory(&at(name), 0o755)?;
    }
    let ids = IdMap::shifted(1_000_000, 65536);
    let (lower, upper) = (userns::create(&ids)?, userns::create(&ids.with_root_outside())?);
    let result = mount::Overlay {
        source: "lxd/probe",
        lowers: &[&at("lower")],
        volume: probe.path(),
        upper_name: UPPER,
        work_name: WORK,
        scratch: &at(SCRATCH),
        maps: Some(OverlayMaps {
            lower: lower.as_fd(),
            upper: upper.as_fd(),
        }),
    }
    .mount(&at("target"));
    mount::detach(&at("target"))?;
    result.map_err(StorageError::from)
}
