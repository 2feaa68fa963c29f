//! Instances and snapshots that another server gets.

use std::sync::Arc;

use lxd_api::instances::InstancePostTarget;
use lxd_instance::Key;
use lxd_model::config::is_true;
use lxd_model::idmap::IdMap;
use lxd_storage::{Pool, RsyncFeatures, Volume};
use serde::{Deserialize, Serialize};

use super::{Parent, ids_to_message, refuse_live, to_message};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::instances::backup_file;
use crate::instances::copy::Frozen;
use crate::instances::record::Record;
use crate::instances::runtime::Guard;
use crate::instances::shift::{ON_DISK, map};
use crate::instances::snapshots::{Root, Saved};
use crate::migration::{
    Answer, Data, Described, Ends, Form, Header, Held, NO_MEMORY, Offer, cancelled_by, unless_told,
    with_secrets,
};
use crate::operations::{self, Keep, Kind, OnCrash, Operation, Options, Progress, Step, Task, Work};
use crate::steps;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(in crate::instances) struct Wish {
    /// The snapshot that is meant and not the instance.
    pub(in crate::instances) snapshot: Option<String>,
    /// Snapshots don't come along.
    pub(in crate::instances) instance_only: bool,
    /// Running processes come along.
    pub(in crate::instances) live: bool,
    /// The server that waits for it; none if it is the one that connects.
    pub(in crate::instances) target: Option<InstancePostTarget>,
}

/// Offers an instance to another server, as an operation: whoever has its secrets gets it, or the server that the request names.
///
/// # Errors
/// Running processes are to come along; the other server can't be reached; the daemon is stopping.
pub(in crate::instances) async fn send(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    wish: Wish,
) -> Result<Operation> {
    let key = Key::new(&ctx.project, name);
    let is_running = app.instances.registry.phase(&key).is_running();
    refuse_live(wish.live && is_running && wish.snapshot.is_none(), "source")?;
    let kind = match wish.snapshot {
        None => Kind::InstanceMigrate,
        Some(_) => Kind::SnapshotTransfer,
    };
    let ends = match wish.target.as_ref().filter(|target| !target.operation.is_empty()) {
        None => None,
        Some(target) => {
            let server = (target.operation.as_str(), target.certificate.as_str());
            Some(Ends::connect(app, server, &target.secrets).await?)
        }
    };
    let mut options = match &ends {
        None => with_secrets(kind),
        Some(_) => Options::task(kind),
    };
    options = options.resource("instances", name);
    if ends.is_none() && wish.snapshot.is_none() {
        options = options.may_cancel();
    }
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let ends = match ends {
            Some(ends) => ends,
            None => cancelled_by(operation.cancel_token(), Ends::accept(&operation)).await?,
        };
        run(&app, &owned, (&key, &wish), &operation, ends).await
    })
}

/// Sends an instance to whoever is at the other end.
///
/// # Errors
/// The other side fails, or goes; a file can't be read.
pub(super) async fn run(
    app: &Arc<App>,
    ctx: &Ctx,
    (key, wish): (&Key, &Wish),
    operation: &Operation,
    ends: Ends,
) -> Result<()> {
    let held = Held::new(ends);
    let sent = async {
        let sending = Sending::prepare(app, operation, (key, wish)).await?;
        sending.run((app, ctx, operation), &held).await
    };
    let sent = sent.await;
    if let (Err(_), Some(mut ends)) = (&sent, held.take()) {
        ends.conclude(&sent).await;
    }
    sent
}

/// An instance or a snapshot on its way.
struct Sending {
    pool: Pool,
    root: Root,
    /// What comes last.
    volume: Volume,
    is_running: bool,
    record: Record,
    snapshots: Vec<Saved>,
    ids: IdMap,
    description: Described,
    progress: Progress,
    /// Keeps one that does not run from being started, changed and deleted meanwhile.
    _guard: Option<Guard>,
}

impl Sending {
    async fn prepare(app: &App, operation: &Operation, (key, wish): (&Key, &Wish)) -> Result<Self> {
        let guard = app.instances.lock(key).await;
        let is_running = app.instances.registry.phase(key).is_running();
        let mut tx = app.cluster.read().await?;
        let record = Record::load(&mut tx, &key.project, &key.name).await?;
        let mut snapshots = Saved::all(&mut tx, record.row.id).await?;
        let root = Root::of(&record);
        let file = backup_file::content(app, &mut tx, &record).await?;
        let (volume, ids) = match &wish.snapshot {
            None => (root.volume(), map(&record.row.config, ON_DISK)?),
            Some(name) => {
                let found = snapshots.iter().find(|one| one.name == *name);
                let found = found.ok_or_else(|| Error::not_found("Instance snapshot not found"))?;
                (root.snapshot(name), map(&found.config, ON_DISK)?)
            }
        };
        let mut description = Described {
            pool: file.pool,
            volume: file.volume,
            ..Described::default()
        };
        if wish.instance_only || wish.snapshot.is_some() {
            snapshots.clear();
        }
        if wish.snapshot.is_none() {
            description.container = file.container;
            description.profiles = Some(file.profiles);
        }
        if !snapshots.is_empty() {
            description.snapshots = Some(file.snapshots);
            description.volume_snapshots = Some(file.volume_snapshots);
        }
        Ok(Self {
            pool: app.pools.get(&root.pool)?,
            progress: operation.progress("fs", &key.name, None),
            // Of one that runs the last pass alone holds it, lest nobody can stop it.
            _guard: (!is_running).then_some(guard),
            is_running: is_running && wish.snapshot.is_none(),
            volume,
            root,
            record,
            snapshots,
            ids,
            description,
        })
    }

    async fn run(self, (app, ctx, operation): (&Arc<App>, &Ctx, &Operation), held: &Held) -> Result<()> {
        let cancel = operation.cancel_token();
        let first = held.with(async |ends| cancelled_by(cancel, self.give_first(ends)).await);
        let (features, is_again, mut has_told) = first.await?;
        if is_again {
            let again = Again {
                source: Frozen::for_copy(app, &self.root),
                sending: Some(Arc::new(self)),
                held: held.clone(),
                features,
                has_told: false,
            };
            has_told = operations::run_in(app, ctx, operation, again).await?.has_told;
        }
        if has_told {
            return Ok(());
        }
        let last = held.with(async |ends| cancelled_by(cancel, ends.control.outcome("")).await);
        last.await
    }

    /// Agrees with the other side, and gives it all once. Gives how, whether it wants the instance again, and whether it has said
    /// that it is content.
    async fn give_first(&self, ends: &mut Ends) -> Result<(RsyncFeatures, bool, bool)> {
        let offered = self.header();
        ends.control.send(&offered).await?;
        let wanted: Header = ends.control.receive_soon().await?;
        if wanted.form != offered.form {
            return Err(Error::refused(
                "The other server wants another form of the instance",
            ));
        }
        let offer = offered.rsync.unwrap_or_default();
        let features = offer.both(wanted.rsync.unwrap_or_default()).features();
        let Ends { control, data } = ends;
        let all = async {
            if wanted.index_version.is_some_and(|version| version > 0) {
                self.describe(data).await?;
            }
            let is_wanted = |one: &&Saved| wanted.snapshot_names.contains(&one.name);
            for snapshot in self.snapshots.iter().filter(is_wanted) {
                let volume = self.root.snapshot(&snapshot.name);
                self.give(data, &volume, features).await?;
            }
            self.give(data, &self.volume, features).await
        };
        let ((), has_told) = unless_told((control, ""), all).await?;
        let is_again = self.is_running && wanted.criu == Some(NO_MEMORY);
        Ok((features, is_again, has_told))
    }

    fn header(&self) -> Header {
        let config = self.pool.config();
        let compress = config.get("rsync.compression").is_none_or(|value| is_true(value));
        let parent = Parent::of(&self.record.row);
        let message = |one| to_message(parent, one);
        Header {
            form: Form::Rsync,
            criu: self.is_running.then_some(NO_MEMORY),
            ids: ids_to_message(&self.ids),
            snapshot_names: self.snapshots.iter().map(|one| one.name.clone()).collect(),
            snapshots: self.snapshots.iter().map(message).collect(),
            predump: Some(false),
            rsync: Some(Offer::all(compress)),
            index_version: Some(1),
            ..Header::default()
        }
    }

    async fn describe(&self, data: &mut Data) -> Result<()> {
        data.send_json(&serde_json::json!({ "config": self.description }))
            .await?;
        let answer: Answer = data.receive_json().await?;
        match answer.status_code {
            200 => Ok(()),
            _ => Err(Error::refused(answer.error)),
        }
    }

    async fn give(&self, data: &mut Data, volume: &Volume, features: RsyncFeatures) -> Result<()> {
        let rsync = self.pool.send_instance(volume, features).await?;
        data.join(rsync, |bytes| self.progress.add(bytes)).await
    }
}

/// The second pass over a running instance, which stands still meanwhile: what it has written since the first.
#[derive(Serialize, Deserialize)]
pub(super) struct Again {
    source: Frozen,
    #[serde(skip)]
    sending: Option<Arc<Sending>>,
    #[serde(skip)]
    held: Held,
    #[serde(skip)]
    features: RsyncFeatures,
    #[serde(skip)]
    has_told: bool,
}

impl Work for Again {
    const KIND: &'static str = "instances.send_again";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn keep(&self) -> Keep {
        Keep::Boot
    }

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "freeze": Self::freeze => Self::thaw;
            unrecorded "send": Self::give;
            unrecorded "thaw": Self::thaw;
        ]
    }
}

impl Again {
    async fn freeze(&mut self, task: &Task) -> Result<()> {
        self.source.freeze(task).await
    }

    async fn thaw(&mut self, task: &Task) -> Result<()> {
        self.source.thaw(task).await
    }

    async fn give(&mut self, task: &Task) -> Result<()> {
        let Some(sending) = self.sending.take() else {
            return Ok(());
        };
        let (features, cancel) = (self.features, &task.ctx.cancel);
        let giving = self.held.with(async |ends| {
            let Ends { control, data } = ends;
            let all = sending.give(data, &sending.volume, features);
            cancelled_by(cancel, unless_told((control, ""), all)).await
        });
        self.has_told = giving.await?.1;
        Ok(())
    }
}
