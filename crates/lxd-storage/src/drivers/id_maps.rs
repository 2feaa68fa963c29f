//! Id maps of mounts: whether they are possible, and the user namespaces of those in use, made once each.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use lxd_sys::userns::{self, IdMap};
use parking_lot::Mutex;

use crate::error::StorageError;

/// Maps beyond this number are made anew (each costs a quarter of a millisecond, and a descriptor while it is kept).
const KEPT: usize = 32;

/// The variable by which an administrator lets no mount map ids, as with the reference.
const DISABLE: &str = "LXD_IDMAPPED_MOUNTS_DISABLE";

/// Whether mounts may map ids at all.
pub fn are_allowed() -> bool {
    !std::env::var(DISABLE).is_ok_and(|value| lxd_model::config::is_true(&value))
}

/// Whether mounts of the file system at a directory can map ids, and may.
pub fn are_mapped(directory: &Path) -> bool {
    are_allowed() && userns::idmapped_mounts_supported(directory)
}

/// Descriptors of user namespaces by their map.
#[derive(Debug, Default)]
pub(super) struct IdMaps(Mutex<HashMap<IdMap, Arc<OwnedFd>>>);

impl IdMaps {
    pub(super) fn userns(&self, map: &IdMap) -> Result<Arc<OwnedFd>, StorageError> {
        if let Some(found) = self.0.lock().get(map) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(userns::create(map)?);
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(map.clone(), Arc::clone(&made));
        Ok(made)
    }
}
