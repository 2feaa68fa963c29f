//! Who may touch the files of an image at the same time: many that read them, or one that brings or removes them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// One lock for each fingerprint in use. An image's files are shared by all projects that have it.
#[derive(Debug, Default)]
pub struct Locks(Mutex<HashMap<String, Weak<RwLock<()>>>>);

/// The files stay as they are while this lives.
pub type Reading = OwnedRwLockReadGuard<()>;

/// Nobody else sees the files while this lives.
pub(crate) type Writing = OwnedRwLockWriteGuard<()>;

/// What the lock on the folder of all files is called; no fingerprint is so.
const FOLDER: &str = "";

impl Locks {
    /// The folder of all files stays where it is while the result lives: for who brings files into it or removes some.
    pub(crate) async fn still(&self) -> Reading {
        self.read(FOLDER).await
    }

    /// Nobody brings files into the folder or removes some while the result lives: for who moves it elsewhere.
    pub(crate) async fn alone(&self) -> Writing {
        self.write(FOLDER).await
    }

    /// Waits until nobody brings or removes the files.
    pub async fn read(&self, fingerprint: &str) -> Reading {
        self.lock(fingerprint).read_owned().await
    }

    /// Waits until nobody uses the files.
    pub(super) async fn write(&self, fingerprint: &str) -> Writing {
        self.lock(fingerprint).write_owned().await
    }

    fn lock(&self, fingerprint: &str) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock();
        if let Some(lock) = locks.get(fingerprint).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(RwLock::new(()));
        locks.insert(fingerprint.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn readers_share_and_writers_do_not() {
        let locks = Locks::default();
        let (first, second) = (locks.read("a").await, locks.read("a").await);
        assert!(locks.write("a").now_or_never().is_none());
        assert!(locks.write("b").now_or_never().is_some());
        drop((first, second));
        let writer = locks.write("a").await;
        assert!(locks.read("a").now_or_never().is_none());
        drop(writer);
        assert!(locks.read("a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn locks_that_nobody_holds_are_forgotten() {
        let locks = Locks::default();
        drop(locks.read("a").await);
        let held = locks.read("b").await;
        drop(locks.read("c").await);
        let _other = locks.read("d").await;
        assert_eq!(locks.0.lock().len(), 2);
        drop(held);
    }
}
