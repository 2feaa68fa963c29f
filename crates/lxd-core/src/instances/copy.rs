//! Copying instances of this server, with their snapshots.

use lxd_instance::lifecycle::Phase;
use lxd_model::devices::Devices;
use lxd_storage::Watch;
use serde::{Deserialize, Serialize};

use super::create::Create;
use super::shift::ON_DISK;
use super::snapshots::{Root, Saved, root_at};
use super::source::Files;
use super::volatile;
use crate::app::App;
use crate::error::{Context as _, Result};
use crate::events::Action;
use crate::operations::{OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this file.
pub(super) fn works(works: &mut Works) {
    works.add::<Copy>();
}

/// An instance whose files are copied, which stands still meanwhile if it ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Frozen(Option<Root>);

impl Frozen {
    /// Looks whether an instance has to be frozen.
    pub(super) fn for_copy(app: &App, root: &Root) -> Self {
        let is_running = app.instances.registry.phase(&root.key()) == Phase::Running;
        Self(is_running.then(|| root.clone()))
    }

    /// Nothing to freeze.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) async fn freeze(&self, task: &Task) -> Result<()> {
        let registry = &task.app.instances.registry;
        let Some(key) = self.0.as_ref().map(Root::key) else {
            return Ok(());
        };
        match registry.freeze(&key).await {
            // It has ended meanwhile, or stands still: nothing writes any more.
            Err(_) if !registry.phase(&key).is_running() => Ok(()),
            Err(_) if registry.phase(&key) == Phase::Frozen => Ok(()),
            frozen => frozen.context("Failed freezing the instance"),
        }
    }

    pub(super) async fn thaw(&self, task: &Task) -> Result<()> {
        let registry = &task.app.instances.registry;
        match self.0.as_ref().map(Root::key) {
            Some(key) if registry.phase(&key) == Phase::Frozen => Ok(registry.unfreeze(&key).await?),
            _ => Ok(()),
        }
    }
}

/// A copy in the making: the instance's rows and those of its snapshots, the files of all, and then the world hears of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Copy {
    pub(super) create: Create,
    pub(super) snapshots: Vec<Saved>,
    source: Frozen,
}

impl Work for Copy {
    const KIND: &'static str = "instances.copy";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "rows": Self::insert => Self::remove;
            unrecorded "freeze": Self::freeze => Self::thaw;
            unrecorded "volume": Self::make_volumes => Self::remove_volume;
            unrecorded "thaw": Self::thaw;
            unrecorded "announce": Self::announce;
        ]
    }
}

impl Copy {
    /// A copy with these snapshots of the source. `given` are the devices that the client names for it.
    pub(super) fn new(app: &App, create: Create, (snapshots, given): (Vec<Saved>, &Devices)) -> Self {
        let source = match &create.files {
            Files::Instance { root, snapshot: None } => Frozen::for_copy(app, root),
            _ => Frozen::none(),
        };
        let mut snapshots = snapshots;
        for snapshot in &mut snapshots {
            as_copied(snapshot);
            root_at(&mut snapshot.devices, given, &create.pool);
        }
        Self {
            create,
            snapshots,
            source,
        }
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let (instance, volume) = self.create.insert_into(&mut tx, &task.app).await?;
        for snapshot in &self.snapshots {
            snapshot.insert(&mut tx, instance, Some(volume)).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        self.create.remove(task).await
    }

    async fn freeze(&mut self, task: &Task) -> Result<()> {
        self.source.freeze(task).await
    }

    async fn thaw(&mut self, task: &Task) -> Result<()> {
        self.source.thaw(task).await
    }

    /// The instance's own files first: it may stand still for them.
    async fn make_volumes(&mut self, task: &Task) -> Result<()> {
        self.create.make_volume(task).await?;
        self.source.thaw(task).await?;
        let Files::Instance { root: from, .. } = &self.create.files else {
            return Ok(());
        };
        let to = Root {
            project: self.create.project.clone(),
            name: self.create.name.clone(),
            pool: self.create.pool.clone(),
        };
        copy_snapshots(task, from, &to, &self.snapshots).await
    }

    async fn remove_volume(&mut self, task: &Task) -> Result<()> {
        self.create.remove_volume(task).await
    }

    async fn announce(&mut self, task: &Task) -> Result<()> {
        self.create.announce(task).await?;
        let instance = (self.create.project.as_str(), self.create.name.as_str());
        for snapshot in &self.snapshots {
            super::snapshots::tell(
                &task.app,
                instance,
                &snapshot.name,
                Action::InstanceSnapshotCreated,
            );
        }
        Ok(())
    }
}

/// Makes a snapshot's rows those of a copy.
pub(super) fn as_copied(snapshot: &mut Saved) {
    let mut config = lxd_model::instances::volatile::for_copy(&snapshot.config, true);
    volatile::of_new(&mut config, &snapshot.devices, "create");
    // The reference forgets how the ids are shifted, and starts with wrong ones what is restored from such a snapshot.
    config.retain(|key, value| key != ON_DISK || value != "[]");
    snapshot.config = config;
}

/// Copies the files of snapshots from one instance to another. Those that are there already stay.
///
/// # Errors
/// A pool is gone; a snapshot has no files; the caller has cancelled.
pub(super) async fn copy_snapshots(task: &Task, from: &Root, to: &Root, snapshots: &[Saved]) -> Result<()> {
    let (from_pool, pool) = (task.app.pools.get(&from.pool)?, task.app.pools.get(&to.pool)?);
    for snapshot in snapshots {
        task.check_cancelled()?;
        let (old, new) = (from.snapshot(&snapshot.name), to.snapshot(&snapshot.name));
        if pool.volume_path(&new).symlink_metadata().is_ok() {
            continue;
        }
        let watch = Watch::new(task.ctx.cancel.clone(), None);
        let copied = pool.copy_volume_from(&from_pool, &old, &new, watch).await;
        copied.context("Create instance from copy")?;
    }
    Ok(())
}
