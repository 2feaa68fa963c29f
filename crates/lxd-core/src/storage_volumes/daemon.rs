//! Volumes that the daemon itself uses: for its image files (`storage.images_volume`), for backups
//! (`storage.backups_volume`). The folder beneath LXD_DIR is then a link to the volume.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use lxd_db::cluster::storage_volumes as rows;
use lxd_db::cluster::storage_volumes::snapshots;
use lxd_db::cluster::{ContentType, VolumeType};
use lxd_sys::path::{CopyOptions, copy_tree, remove_contents, remove_tree};
use rustix::fs::{CWD, RenameFlags};
use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::app::{App, blocking};
use crate::ctx::{Ctx, DEFAULT_PROJECT};
use crate::error::{Context as _, Error, Result};
use crate::images::Writing;
use crate::operations::{self, OnCrash, Step, Task, Work};
use crate::server::{ConfigChange, ConfigHook};
use crate::steps;

/// The keys, and the folders beneath LXD_DIR that they are for.
const KEYS: [(&str, &str); 2] = [
    ("storage.backups_volume", "backups"),
    ("storage.images_volume", IMAGES),
];

/// The folder of image files.
const IMAGES: &str = "images";

/// Follows the keys from now on.
pub(crate) fn follow(app: &Arc<App>) {
    const NAMES: &[&str] = &[KEYS[0].0, KEYS[1].0];
    let hook = Hook(Arc::downgrade(app));
    app.config.on_change(NAMES, Arc::new(hook));
}

/// Whether the daemon itself uses a volume.
pub(super) fn uses(app: &App, home: &Home) -> bool {
    let value = format!("{}/{}", home.pool, home.name);
    home.project == DEFAULT_PROJECT && KEYS.iter().any(|(key, _)| app.config.get(key) == value)
}

struct Hook(Weak<App>);

impl ConfigHook for Hook {
    fn follow<'a>(&'a self, change: &'a ConfigChange) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(app) = self.0.upgrade() else {
                return Err(Error::unavailable("LXD is shutting down"));
            };
            let changed = KEYS.iter().filter(|(key, _)| change.changed.contains(*key));
            for (key, folder) in changed {
                let (old, new) = (home_of(change.before(key)), home_of(change.after(key)));
                if !change.after(key).is_empty() {
                    let valid = check(&app, folder, new.as_ref()).await;
                    valid.with_context(|| format!("Failed validation of {key:?}"))?;
                }
                let work = Move::new(key, folder, old, new);
                operations::run(&app, &Ctx::daemon(DEFAULT_PROJECT), work).await?;
            }
            Ok(())
        })
    }
}

/// The volume that a value names; none for the empty one, and for what names none.
fn home_of(value: &str) -> Option<Home> {
    let (pool, name) = value.split_once('/')?;
    let is_whole = !pool.is_empty() && !name.is_empty() && !name.contains('/');
    is_whole.then(|| Home::new(pool, DEFAULT_PROJECT, name))
}

/// Whether a volume can be used for a folder: empty, without snapshots. The one that is used for it already can.
async fn check(app: &App, folder: &str, home: Option<&Home>) -> Result<()> {
    let syntax = || Error::refused("Invalid syntax for volume, must be <pool>/<volume>");
    let home = home.ok_or_else(syntax)?;
    let shown = format!("{}/{}", home.pool, home.name);
    let pool = app.pools.get(&home.pool);
    let pool = pool.with_context(|| format!("Unable to load storage pool {:?}", home.pool))?;
    let mut tx = app.cluster.read().await?;
    let key = rows::Key {
        kind: VolumeType::Custom,
        ..home.key()
    };
    let row = rows::get(&mut tx, key).await.map_err(|_| {
        Error::not_found(format!(
            "Failed loading storage volume {shown:?} in {DEFAULT_PROJECT:?} project: Storage volume not found"
        ))
    })?;
    if row.content_type != ContentType::Filesystem {
        return Err(Error::refused(format!(
            "Storage volume {shown:?} in {DEFAULT_PROJECT:?} project is not filesystem content type"
        )));
    }
    if !snapshots::list(&mut tx, &[row.id]).await?.is_empty() {
        return Err(Error::refused(
            "Storage volumes for use by LXD itself cannot have snapshots",
        ));
    }
    drop(tx);
    let (link, directory) = (app.paths.root().join(folder), pool.volume_path(&home.volume()));
    blocking(move || {
        if std::fs::read_link(&link).is_ok_and(|target| target == directory) {
            return Ok(());
        }
        let failed =
            |error| Error::internal(format!("Failed listing {}", directory.display())).because(error);
        let mut entries = std::fs::read_dir(&directory).map_err(failed)?;
        match entries.find(|entry| {
            !entry
                .as_ref()
                .is_ok_and(|entry| entry.file_name() == "lost+found")
        }) {
            None => Ok(()),
            Some(_) => Err(Error::refused(format!("Storage volume {shown:?} isn't empty"))),
        }
    })
    .await
}

/// A folder of the daemon's that goes to another place: its content is copied, then the folder, or the link to it, is
/// exchanged, and what was before it is removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Move {
    key: String,
    folder: String,
    from: Option<Home>,
    to: Option<Home>,
    /// Whether the folder was somewhere else when this began. If not, nothing is touched: what is in the volumes is not ours.
    is_needed: bool,
    /// From here on there is no way back.
    is_settled: bool,
    /// Nobody brings files into the folder meanwhile, where it is that of the images.
    #[serde(skip)]
    alone: Option<Arc<Writing>>,
}

impl Work for Move {
    const KIND: &'static str = "daemon-storage.move";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "look": Self::look;
            "copy": Self::copy => Self::clear;
            unrecorded "exchange": Self::exchange => Self::exchange_back;
            unrecorded "config": Self::note => Self::note_back;
            "settle": Self::settle;
        ]
    }
}

impl Move {
    fn new(key: &str, folder: &str, from: Option<Home>, to: Option<Home>) -> Self {
        Self {
            key: key.to_owned(),
            folder: folder.to_owned(),
            from,
            to,
            is_needed: false,
            is_settled: false,
            alone: None,
        }
    }

    /// Waits until nobody brings images; at the first step, and at the first after a crash.
    async fn isolate(&mut self, app: &App) {
        if self.alone.is_none() && self.folder == IMAGES {
            self.alone = Some(Arc::new(app.images.alone().await));
        }
    }

    fn link(&self, app: &App) -> PathBuf {
        app.paths.root().join(&self.folder)
    }

    /// What becomes the folder: a folder, or a link; afterwards the one that was it.
    fn beside(&self, app: &App) -> PathBuf {
        app.paths.root().join(format!(".{}-moved", self.folder))
    }

    fn directory(app: &App, home: &Home) -> Result<PathBuf> {
        Ok(home.pool(app)?.volume_path(&home.volume()))
    }

    /// Whether the folder is where it shall go to.
    fn is_there(&self, app: &App) -> Result<bool> {
        let link = self.link(app);
        Ok(match &self.to {
            Some(home) => std::fs::read_link(&link)
                .is_ok_and(|target| Self::directory(app, home).is_ok_and(|d| d == target)),
            None => link.symlink_metadata().is_ok_and(|found| found.is_dir()),
        })
    }

    async fn look(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        self.is_needed = !self.is_there(&task.app)?;
        Ok(())
    }

    async fn copy(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        let (from, beside) = (self.link(&task.app), self.beside(&task.app));
        if !self.is_needed || self.is_there(&task.app)? {
            return Ok(());
        }
        self.clear(task).await?;
        let target = self
            .to
            .as_ref()
            .map(|home| Self::directory(&task.app, home))
            .transpose()?;
        let cancel = task.ctx.cancel.clone();
        blocking(move || {
            let place = target.as_deref().unwrap_or(&beside);
            let options = CopyOptions {
                progress: &mut |_| !cancel.is_cancelled(),
                reflink: true,
            };
            // A link leads to its folder only with something behind it.
            copy_tree(&from.join("."), place, options)?;
            match &target {
                Some(target) => symlink(target, &beside).map_err(|error| failed("linking", &beside, error)),
                None => Ok(()),
            }
        })
        .await
    }

    /// Takes away what was copied.
    async fn clear(&mut self, task: &Task) -> Result<()> {
        if !self.is_needed || self.is_settled || self.is_there(&task.app)? {
            return Ok(());
        }
        let beside = self.beside(&task.app);
        let target = self
            .to
            .as_ref()
            .map(|home| Self::directory(&task.app, home))
            .transpose()?;
        blocking(move || {
            remove_any(&beside)?;
            if let Some(target) = target {
                remove_contents(&target)?;
            }
            Ok(())
        })
        .await
    }

    async fn exchange(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        if !self.is_needed || self.is_there(&task.app)? {
            return Ok(());
        }
        self.swap(&task.app)
    }

    async fn exchange_back(&mut self, task: &Task) -> Result<()> {
        if !self.is_needed
            || self.is_settled
            || !self.is_there(&task.app)?
            || self.beside(&task.app).symlink_metadata().is_err()
        {
            return Ok(());
        }
        self.swap(&task.app)
    }

    fn swap(&self, app: &App) -> Result<()> {
        let (link, beside) = (self.link(app), self.beside(app));
        rustix::fs::renameat_with(CWD, &beside, CWD, &link, RenameFlags::EXCHANGE)
            .map_err(|error| failed("exchanging", &link, error.into()))
    }

    async fn note(&mut self, task: &Task) -> Result<()> {
        self.set(&task.app, self.to.as_ref()).await
    }

    async fn note_back(&mut self, task: &Task) -> Result<()> {
        if !self.is_needed || self.is_settled {
            return Ok(());
        }
        self.set(&task.app, self.from.as_ref()).await
    }

    /// Keeps in the database what is true of the folder, whatever becomes of the request.
    async fn set(&self, app: &App, home: Option<&Home>) -> Result<()> {
        let mut config = app.node.config().await?;
        match home {
            Some(home) => config.insert(self.key.clone(), format!("{}/{}", home.pool, home.name)),
            None => config.remove(&self.key),
        };
        Ok(app.node.replace_config(&config).await?)
    }

    async fn settle(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        self.is_settled = true;
        if !self.is_needed {
            return Ok(());
        }
        let beside = self.beside(&task.app);
        let old = self
            .from
            .as_ref()
            .map(|home| Self::directory(&task.app, home))
            .transpose()?;
        blocking(move || {
            if let Some(old) = old {
                remove_contents(&old)?;
            }
            remove_any(&beside)
        })
        .await
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::internal(format!("Failed {doing} {}", path.display())).because(error)
}

/// Removes a link or a tree; not being there is fine.
fn remove_any(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(found) if found.is_dir() => Ok(remove_tree(path)?),
        Ok(_) => std::fs::remove_file(path).map_err(|error| failed("removing", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use lxd_api::server::ServerPut;
    use serde_json::json;

    use super::super::tests::{app_with_pool, post};
    use super::*;
    use crate::operations::testing;
    use crate::testing::{TestApp, root};

    async fn set(app: &TestApp, value: &str) -> Result<()> {
        let put = ServerPut {
            config: [("storage.images_volume".to_owned(), json!(value))].into(),
        };
        crate::server::patch(app, &root(), put, None).await
    }

    /// Two empty volumes, and an image's file.
    async fn start() -> TestApp {
        let app = app_with_pool("dir").await;
        for name in ["v1", "v2"] {
            super::super::create(&app, &root(), "p1", post(name))
                .await
                .unwrap();
        }
        std::fs::write(app.paths.images().join("abc"), "image").unwrap();
        app
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().display().to_string())
            .collect()
    }

    fn volume(app: &TestApp, name: &str) -> PathBuf {
        app.paths
            .storage_pool("p1")
            .join("custom")
            .join(format!("default_{name}"))
    }

    #[tokio::test]
    async fn images_move_into_a_volume_and_on_and_back() {
        let app = start().await;
        let (images, ctx) = (app.paths.images(), root());
        set(&app, "p1/v1").await.unwrap();
        assert_eq!(std::fs::read_link(&images).unwrap(), volume(&app, "v1"));
        assert_eq!(files(&images), ["abc"]);
        for (result, text) in [
            (
                super::super::delete(&app, &ctx, ["p1", "custom", "v1"]).await,
                "The storage volume is still in use",
            ),
            (
                set(&app, "p1/nope").await,
                "Failed validation of \"storage.images_volume\": Failed loading storage volume \"p1/nope\" in \"default\" \
                 project: Storage volume not found",
            ),
        ] {
            assert_eq!(result.unwrap_err().text(), text);
        }
        let shown = super::super::get(&app, &ctx, ["p1", "custom", "v1"])
            .await
            .unwrap();
        assert_eq!(shown.value.used_by, ["/1.0"]);
        let app = app.restart().await;
        std::fs::write(volume(&app, "v2").join("x"), "mine").unwrap();
        let refused = set(&app, "p1/v2").await.unwrap_err();
        assert!(refused.text().ends_with("Storage volume \"p1/v2\" isn't empty"));
        assert_eq!(files(&volume(&app, "v2")), ["x"]);
        std::fs::remove_file(volume(&app, "v2").join("x")).unwrap();
        set(&app, "p1/v2").await.unwrap();
        assert_eq!(files(&volume(&app, "v1")), Vec::<String>::new());
        set(&app, "").await.unwrap();
        assert!(!images.is_symlink());
        assert_eq!(files(&images), ["abc"]);
        assert_eq!(files(&volume(&app, "v2")), Vec::<String>::new());
    }

    #[tokio::test]
    async fn images_on_their_way_are_waited_for() {
        let app = start().await;
        let on_its_way = app.images.still().await;
        let moving = set(&app, "p1/v1");
        let mut moving = std::pin::pin!(moving);
        let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut moving).await;
        assert!(early.is_err(), "the folder was moved under an upload");
        assert!(!app.paths.images().is_symlink());
        std::fs::write(app.paths.images().join("late"), "image").unwrap();
        drop(on_its_way);
        moving.await.unwrap();
        let mut moved = files(&volume(&app, "v1"));
        moved.sort();
        assert_eq!(moved, ["abc", "late"]);
        drop(app.images.still().await);
    }

    #[tokio::test]
    async fn works_are_whole_at_every_step() {
        let app = start().await;
        let (images, ctx) = (app.paths.images(), root());
        let make = || Move::new(KEYS[1].0, KEYS[1].1, None, home_of("p1/v1"));
        let is_whole = async || {
            assert_eq!(files(&images), ["abc"]);
            assert!(!app.paths.root().join(".images-moved").exists());
            let is_moved = images.is_symlink();
            assert_eq!(files(&volume(&app, "v1")).len(), usize::from(is_moved));
            let config = app.node.config().await.unwrap();
            assert_eq!(config.contains_key(KEYS[1].0), is_moved);
        };
        let back = async || {
            if images.is_symlink() {
                let back = Move::new(KEYS[1].0, KEYS[1].1, home_of("p1/v1"), None);
                operations::run(&app, &ctx, back).await.unwrap();
            }
        };
        // Once all is done it stays so, whatever fails then.
        testing::death_at_every_step(&app, &ctx, &make, &back, &is_whole).await;
        for step in ["look", "copy", "exchange", "config"] {
            app.faults.set(
                move |_, name, at| match name == step && format!("{at:?}") == "After" {
                    true => operations::Verdict::Fail(Error::internal("on purpose")),
                    false => operations::Verdict::Go,
                },
            );
            assert!(operations::run(&app, &ctx, make()).await.is_err());
            app.faults.clear();
            is_whole().await;
            assert!(!images.is_symlink(), "{step}");
        }
    }
}
