//! Changes of running instances as they happen, and who a process belongs to.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use lxd_sys::process;

use crate::instance::{Instance, Key};

/// How far up the ancestors of a process are looked at: more than containers can be nested.
const NESTING_MAX: usize = 32;

/// How many changes a slow listener may lag behind.
pub(crate) const BACKLOG: usize = 256;

/// A change of a running instance's configuration or devices.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it was.
    pub old: Arc<Instance>,
    /// What it is now.
    pub new: Arc<Instance>,
}

/// Which of the inits has a process in its pid namespace, or in one below that.
pub(crate) fn owner_of(pid: i32, inits: &[(Key, i32)]) -> Option<Key> {
    let namespace = |pid: i32| {
        std::fs::metadata(format!("/proc/{pid}/ns/pid"))
            .ok()
            .map(|found| found.ino())
    };
    let inits: Vec<(u64, &Key)> = inits
        .iter()
        .filter_map(|(key, init)| Some((namespace(*init)?, key)))
        .collect();
    let mut pid = pid;
    for _ in 0..NESTING_MAX {
        let own = namespace(pid)?;
        if let Some((_, key)) = inits.iter().find(|(init, _)| *init == own) {
            return Some((*key).clone());
        }
        // A namespace below was made by a process of the one above.
        pid = process::stat(pid).ok()?.parent;
        if pid <= 1 {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_the_host_belong_to_nobody_else() {
        let own = i32::try_from(std::process::id()).unwrap();
        let key = Key::new("default", "c1");
        assert_eq!(owner_of(own, &[]), None);
        assert_eq!(owner_of(own, &[(key.clone(), own)]), Some(key));
    }
}
