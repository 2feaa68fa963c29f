//! Small file systems that tests fill up.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use lxd_api::storage_pools::StoragePoolsPost;
use lxd_sys::command::Command;
use lxd_sys::loops::Loop;
use lxd_sys::mount;

use super::TestApp;
use crate::error::Error;

/// What the filling is called, at the root of a small file system.
const FILLING: &str = "filling";

/// Bytes that are free once the filling is gone.
const ENOUGH: u64 = 12 << 20;

/// A file system with little room. What it is in goes with it, after a failed test too.
pub(crate) struct Disk {
    root: PathBuf,
    area: Option<tempfile::TempDir>,
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(area) = &self.area {
            mount::detach_beneath(area.path());
        }
    }
}

impl Disk {
    /// An ext4 of so many bytes.
    pub(crate) async fn ext4(bytes: u64) -> Self {
        let area = tempfile::tempdir().unwrap();
        let (file, root) = (area.path().join("disk.img"), area.path().join("disk"));
        File::create(&file).unwrap().set_len(bytes).unwrap();
        let mkfs = Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", "-O", "^has_journal"])
            .arg(&file);
        mkfs.output().await.unwrap();
        fs::create_dir(&root).unwrap();
        let device = Loop::attach(&file).unwrap();
        mount::filesystem(device.path(), &root, "ext4", &mount::Options::parse("")).unwrap();
        let _ = fs::remove_dir(root.join("lost+found"));
        let area = Some(area);
        Self { root, area }
    }

    /// A tmpfs of so many bytes over a directory of the daemon's.
    pub(crate) fn over(directory: &Path, bytes: u64) -> Self {
        fs::create_dir_all(directory).unwrap();
        mount::tmpfs(directory, &[("size", &bytes.to_string()), ("mode", "0700")]).unwrap();
        Self::of(directory.to_owned())
    }

    /// The file system that a directory is on; the filling lies in that directory.
    pub(crate) fn of(directory: PathBuf) -> Self {
        Self {
            root: directory,
            area: None,
        }
    }

    /// Its root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Takes all room but so many bytes. With none left not a single block goes any more.
    pub(crate) fn fill(&self, but: u64) {
        let mut file = File::create(self.root.join(FILLING)).unwrap();
        let chunk = vec![7_u8; 1 << 20];
        loop {
            let found = rustix::fs::statvfs(&self.root).unwrap();
            let room = (found.f_bfree * found.f_frsize).saturating_sub(but);
            let size = usize::try_from(room).unwrap().min(chunk.len());
            if size == 0
                || file
                    .write_all(&chunk[..size])
                    .and_then(|()| file.flush())
                    .is_err()
            {
                break;
            }
        }
        if but == 0 {
            for size in [64 << 10, 4096] {
                while file
                    .write_all(&chunk[..size])
                    .and_then(|()| file.sync_data())
                    .is_ok()
                {}
            }
            while file.write_all(&[7]).is_ok() {}
        }
        let _ = file.sync_all();
    }

    /// Gives the room back.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_file(self.root.join(FILLING));
        // Some file systems count it as free only then.
        let root = File::open(&self.root).unwrap();
        for _ in 0..100 {
            rustix::fs::syncfs(&root).unwrap();
            let found = rustix::fs::statvfs(&self.root).unwrap();
            if found.f_bfree * found.f_frsize > ENOUGH.min(found.f_blocks * found.f_frsize / 2) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("no room again on {}", self.root.display());
    }
}

/// Makes a pool with little room; the first of the disks fills it, and all must outlive it.
pub(crate) async fn small_pool(app: &TestApp, name: &str, driver: &str) -> Vec<Disk> {
    let mut post = StoragePoolsPost {
        name: name.into(),
        driver: driver.into(),
        ..StoragePoolsPost::default()
    };
    let mut disks = vec![Disk::of(app.paths.storage_pool(name))];
    let size = [("size".to_owned(), "192MiB".to_owned())].into();
    if lxd_storage::Pools::validate(driver, &size).is_ok() {
        post.config = size;
    } else {
        let disk = Disk::ext4(32 << 20).await;
        let source = disk.root().display().to_string();
        post.config.insert("source".into(), source);
        disks.push(disk);
    }
    crate::storage_pools::create(app, &super::root(), post)
        .await
        .unwrap();
    disks
}

/// Everything beneath a directory, with its size and the beginning of its content, but for the filling: to be compared.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path == directory.join(FILLING) {
                continue;
            }
            let kind = entry.file_type().unwrap();
            let what = if kind.is_file() {
                let content = fs::read(&path).unwrap_or_default();
                format!("{} {:?}", content.len(), content.first())
            } else {
                format!("{kind:?}")
            };
            found.push(format!(
                "{} {what}",
                path.strip_prefix(directory).unwrap().display()
            ));
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Fails with what only one of two such lists has.
pub(crate) fn assert_same(now: &[String], before: &[String], about: &str) {
    let without = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|one| !those.contains(one)).cloned().collect()
    };
    let (more, less) = (without(now, before), without(before, now));
    assert!(
        more.is_empty() && less.is_empty(),
        "{about}: there is {more:#?}, without {less:#?}"
    );
}

/// Whether there was no room, and the error says so as the kernel does.
pub(crate) fn is_no_room(error: &Error) -> bool {
    let said = ["No space left on device", "Disk quota exceeded"];
    said.iter().any(|said| error.text().contains(said))
}
