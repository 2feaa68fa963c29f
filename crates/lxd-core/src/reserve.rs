//! Room that is kept for the databases: on a full disk, what frees some must still be recorded, and the daemon start.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::app::{App, blocking};
use crate::error::{Error, Result};
use crate::paths::Paths;
use crate::timers;

/// Bytes that are kept.
const SIZE: u64 = 32 << 20;

/// The disk is full with less than this, in bytes.
const FULL: u64 = 4 << 20;

/// How many times as much must be free for the room to be kept.
const PLENTY: u64 = 4;

/// How often is looked whether it can be kept again.
const INTERVAL: Duration = Duration::from_secs(3600);

fn place(paths: &Paths) -> PathBuf {
    paths.database().join("reserve")
}

/// Keeps room from now on, whenever there is plenty.
pub(crate) fn spawn(app: &Arc<App>) {
    timers::every(
        app,
        INTERVAL,
        "Failed keeping room for the databases",
        async |app| {
            let file = place(&app.paths);
            blocking(move || keep(&file)).await
        },
    );
}

fn keep(file: &Path) -> Result<()> {
    if file.exists() || free(file)? < SIZE * PLENTY {
        return Ok(());
    }
    let failed = |error| Error::internal(format!("Failed writing {}", file.display())).because(error);
    let made = File::create(file).map_err(failed)?;
    let kept = fallocate(&made, FallocateFlags::empty(), 0, SIZE);
    if kept.is_err() {
        // Not every file system can.
        std::fs::remove_file(file).map_err(failed)?;
    }
    Ok(())
}

/// Gives the room to whoever needs it, if the disk is full; says whether there was some.
pub(crate) fn give_up(paths: &Paths) -> bool {
    let file = place(paths);
    let is_full = free(&file).is_ok_and(|free| free < FULL);
    let given = is_full && std::fs::remove_file(&file).is_ok();
    if given {
        tracing::warn!("The disk is full: the databases use the room that was kept for them");
    }
    given
}

fn free(file: &Path) -> Result<u64> {
    let directory = file.parent().unwrap_or(file);
    let found = statvfs(directory).map_err(|error| {
        Error::internal(format!("Failed looking at {}", directory.display())).because(error)
    })?;
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use lxd_api::storage_pools::StoragePoolsPost;
    use lxd_api::storage_volumes::StorageVolumesPost;

    use super::*;
    use crate::testing::disk::Disk;
    use crate::testing::{TestApp, root};
    use crate::{storage_pools, storage_volumes};

    async fn make(app: &TestApp, name: &str) -> Result<()> {
        let post = StorageVolumesPost {
            name: name.into(),
            r#type: "custom".into(),
            ..StorageVolumesPost::default()
        };
        storage_volumes::create(app, &root(), "p1", post).await.map(drop)
    }

    /// Databases, pool and all on one disk, to the last byte.
    #[tokio::test(flavor = "multi_thread")]
    async fn on_a_full_disk_things_are_deleted_and_the_daemon_starts() {
        let disk = Disk::ext4(256 << 20).await;
        let app = TestApp::start_beneath(disk.root()).await;
        let post = StoragePoolsPost {
            name: "p1".into(),
            driver: "dir".into(),
            ..StoragePoolsPost::default()
        };
        storage_pools::create(&app, &root(), post).await.unwrap();
        make(&app, "v1").await.unwrap();
        make(&app, "v2").await.unwrap();
        let file = place(&app.paths);
        keep(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        assert!(!give_up(&app.paths), "there is room");

        disk.fill(0);
        let error = make(&app, "v3").await.unwrap_err();
        assert!(error.text().contains("full"), "{}", error.text());
        assert!(file.exists());
        storage_volumes::delete(&app, &root(), ["p1", "custom", "v1"])
            .await
            .unwrap();
        assert!(!file.exists());

        disk.clear();
        keep(&file).unwrap();
        disk.fill(0);
        let app = app.restart().await;
        let left = storage_volumes::list(&app, &root(), "p1", None, false)
            .await
            .unwrap();
        assert_eq!(left.len(), 1);
        storage_volumes::delete(&app, &root(), ["p1", "custom", "v2"])
            .await
            .unwrap();
    }
}
