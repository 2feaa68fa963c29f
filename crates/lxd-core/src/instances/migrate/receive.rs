//! Instances that come from another server.

use std::sync::Arc;

use lxd_api::instances::InstancesPost;
use lxd_instance::Key;
use lxd_model::config::Config;
use lxd_model::devices::{Device, Devices, root_disk};
use lxd_model::instances::InstanceType;
use lxd_model::names;
use lxd_storage::{Pool, RsyncFeatures, Volume, VolumeSource, Watch};
use serde::{Deserialize, Serialize};

use super::renew::Renew;
use super::{Parent, from_message, ids_from_message, refuse_live, to_message};
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::events::Action;
use crate::instances::checks;
use crate::instances::copy::as_copied;
use crate::instances::create::Create;
use crate::instances::record::Record;
use crate::instances::shift::ON_DISK;
use crate::instances::snapshots::{Root, Saved, root_at, tell};
use crate::instances::start::tell as tell_of;
use crate::migration::{
    Answer, Data, Ends, Form, Header, Held, Info, NO_MEMORY, Offer, cancelled_by, unless_told, with_secrets,
};
use crate::operations::{self, Kind, OnCrash, Operation, Options, Progress, Step, Task, Work};
use crate::steps;

/// What stands before whatever keeps an instance from coming.
const DOING: &str = "Error transferring instance data";

/// Takes an instance from another server, as an operation: connects to it, or waits for it. Without a new instance the one of
/// that name is brought up to date.
///
/// # Errors
/// Running processes are to come along; the daemon is stopping.
pub(in crate::instances) fn receive(
    app: &Arc<App>,
    ctx: &Ctx,
    is_listening: bool,
    (post, create): (InstancesPost, Option<Create>),
) -> Result<Operation> {
    refuse_live(post.source.live, "destination")?;
    let key = Key::new(&ctx.project, &post.name);
    if create.is_none() && app.instances.registry.phase(&key).is_running() {
        return Err(is_running());
    }
    let options = match is_listening {
        true => with_secrets(Kind::InstanceCreate),
        false => Options::task(Kind::InstanceCreate).may_cancel(),
    };
    let options = options.resource("instances", &post.name);
    let (app, owned) = (Arc::clone(app), ctx.clone());
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let source = post.source;
        let connecting = async {
            if is_listening {
                return Ends::accept(&operation).await;
            }
            let server = (source.operation.as_str(), source.certificate.as_str());
            Ends::connect(&app, server, &source.secrets).await
        };
        let ends = cancelled_by(operation.cancel_token(), connecting)
            .await
            .context(DOING)?;
        let held = Held::new(ends);
        let instance_only = source.instance_only || source.container_only;
        let done = match create {
            Some(create) => {
                let _guard = app.instances.lock(&key).await;
                let work = Receive::new(create, instance_only, held.clone());
                operations::run_in(&app, &owned, &operation, work).await.map(drop)
            }
            None => renew(&app, &owned, &operation, (&key, instance_only, held.clone())).await,
        };
        if let Some(mut ends) = held.take() {
            ends.conclude(&done).await;
        }
        done.context(DOING)
    })
}

async fn renew(
    app: &Arc<App>,
    ctx: &Ctx,
    operation: &Operation,
    (key, instance_only, held): (&Key, bool, Held),
) -> Result<()> {
    let _guard = app.instances.lock(key).await;
    if app.instances.registry.phase(key).is_running() {
        return Err(is_running());
    }
    let mut tx = app.cluster.read().await?;
    let record = Record::load(&mut tx, &key.project, &key.name).await?;
    let present = Saved::all(&mut tx, record.row.id).await?;
    drop(tx);
    let work = Renew::new(&record, present, (instance_only, held));
    operations::run_in(app, ctx, operation, work).await?;
    tell_of(app, &Ctx::daemon(&key.project), key, Action::InstanceUpdated);
    Ok(())
}

fn is_running() -> Error {
    Error::internal("Failed getting exclusive access to instance: Instance is running")
}

/// What comes, and where it goes.
#[derive(Serialize, Deserialize)]
pub(super) struct Incoming {
    /// Where it goes, while it comes at least.
    to: Root,
    instance_only: bool,
    /// The devices of the instance that comes, with the root disk that its snapshots get.
    devices: Devices,
    /// All snapshots that the other side has, oldest first.
    pub(super) snapshots: Vec<Saved>,
    /// Those that come.
    missing: Vec<String>,
    /// How the ids in the files are shifted.
    pub(super) ids: String,
    #[serde(skip)]
    is_twice: bool,
    #[serde(skip)]
    features: RsyncFeatures,
    #[serde(skip)]
    held: Held,
}

impl Incoming {
    pub(super) fn new(to: Root, devices: &Devices, (instance_only, held): (bool, Held)) -> Self {
        Self {
            to,
            instance_only,
            devices: devices.clone(),
            snapshots: Vec::new(),
            missing: Vec::new(),
            ids: "[]".into(),
            is_twice: false,
            features: RsyncFeatures::default(),
            held,
        }
    }

    /// Agrees with the other side on what comes. Snapshots that are there already don't; of one that is brought up to date.
    pub(super) async fn greet(
        &mut self,
        task: &Task,
        parent: Parent<'_>,
        present: Option<&[Saved]>,
    ) -> Result<()> {
        let held = self.held.clone();
        let cancel = &task.ctx.cancel;
        held.with(async |ends| cancelled_by(cancel, self.agree(ends, (parent, present))).await)
            .await
    }

    async fn agree(
        &mut self,
        ends: &mut Ends,
        (parent, present): (Parent<'_>, Option<&[Saved]>),
    ) -> Result<()> {
        let offered: Header = ends.control.receive_soon().await?;
        if offered.form == Form::BlockAndRsync {
            return Err(Error::bad_request(
                "The other server's instance is a virtual machine",
            ));
        }
        self.ids = ids_from_message(&offered.ids)?.to_json();
        self.is_twice = offered.criu == Some(NO_MEMORY);
        let instance_only = self.instance_only;
        for message in offered.snapshots.iter().filter(|_| !instance_only) {
            self.add(from_message(message), present.unwrap_or_default())?;
        }
        let offer = Offer::all(true).both(offered.rsync.unwrap_or_default());
        self.features = offer.features();
        let index_version = offered.index_version.map(|version| version.min(1));
        let is_missing = |one: &&Saved| self.missing.contains(&one.name);
        let message = |one| to_message(parent, one);
        let wanted = Header {
            form: Form::Rsync,
            criu: self.is_twice.then_some(NO_MEMORY),
            snapshot_names: self.missing.clone(),
            snapshots: self.snapshots.iter().filter(is_missing).map(message).collect(),
            predump: Some(false),
            rsync: Some(offer),
            refresh: Some(present.is_some()),
            index_version,
            ..Header::default()
        };
        ends.control.send(&wanted).await?;
        if index_version.is_some_and(|version| version > 0) {
            self.hear_description(&mut ends.data, present.is_some()).await?;
        }
        for snapshot in &mut self.snapshots {
            as_copied(snapshot);
        }
        Ok(())
    }

    /// Notes a snapshot. One that is there is known by its name and the second of its making.
    fn add(&mut self, mut snapshot: Saved, present: &[Saved]) -> Result<()> {
        names::snapshot(&snapshot.name)?;
        if self.snapshots.iter().any(|one| one.name == snapshot.name) {
            let text = format!("The other server has two snapshots {:?}", snapshot.name);
            return Err(Error::bad_request(text));
        }
        let seconds = |one: &Saved| one.created_at.timestamp().as_second();
        let twin = present
            .iter()
            .find(|one| one.name == snapshot.name && seconds(one) == seconds(&snapshot));
        match twin {
            Some(twin) => snapshot = twin.clone(),
            None => {
                checks::own(&snapshot.config, &snapshot.devices, InstanceType::Container)
                    .map_err(|invalid| invalid.within(&format!("Snapshot {:?}: ", snapshot.name)))?;
                self.missing.push(snapshot.name.clone());
                root_at(&mut snapshot.devices, &self.devices, &self.to.pool);
            }
        }
        self.snapshots.push(snapshot);
        Ok(())
    }

    async fn hear_description(&mut self, data: &mut Data, refresh: bool) -> Result<()> {
        let info: Info = data.receive_json().await?;
        let described = info.config.snapshots.unwrap_or_default();
        for snapshot in self.snapshots.iter_mut() {
            if !self.missing.contains(&snapshot.name) {
                continue;
            }
            if let Some(found) = described.iter().find(|one| one.name == snapshot.name) {
                // The header has seconds only.
                snapshot.created_at = found.created_at;
            }
        }
        let answer = Answer {
            status_code: 200,
            error: String::new(),
            refresh: Some(refresh),
        };
        data.send_json(&answer).await
    }

    /// Fills the volume with each snapshot in turn, which is kept, and then with what the other side's instance is.
    pub(super) async fn fetch(&self, task: &Task) -> Result<()> {
        let pool = task.app.pools.get(&self.to.pool)?;
        let progress = task.operation.progress("fs", &self.to.name, None);
        let cancel = task.ctx.cancel.clone();
        let into = self.to.volume();
        let fetching = self.held.with(async |ends| {
            let Ends { control, data } = ends;
            let all = async {
                for name in &self.missing {
                    self.fetch_one(&pool, (data, &progress), &into).await?;
                    let watch = Watch::new(cancel.clone(), None);
                    let kept = VolumeSource::Volume(into.clone());
                    let snapshot = self.to.snapshot(name);
                    let made = pool.create_volume(&snapshot, kept, watch);
                    made.await.context("Failed creating the snapshot")?;
                }
                self.fetch_one(&pool, (data, &progress), &into).await?;
                if self.is_twice {
                    self.fetch_one(&pool, (data, &progress), &into).await?;
                }
                Ok(())
            };
            cancelled_by(&cancel, unless_told((control, ""), all)).await
        });
        fetching.await.map(drop)
    }

    async fn fetch_one(
        &self,
        pool: &Pool,
        (data, progress): (&mut Data, &Progress),
        into: &Volume,
    ) -> Result<()> {
        let rsync = pool.receive_instance(into, self.features).await?;
        data.join(rsync, |bytes| progress.add(bytes)).await?;
        Ok(pool.received(into).await?)
    }
}

/// An instance that comes from another server: its rows and those of its snapshots, then the files.
#[derive(Serialize, Deserialize)]
pub(super) struct Receive {
    create: Create,
    incoming: Incoming,
    /// Whether nothing of the name was there before; from then on whatever is there is this work's.
    is_new: bool,
}

impl Work for Receive {
    const KIND: &'static str = "instances.receive";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "greet": Self::greet;
            "rows": Self::insert => Self::remove;
            unrecorded "volume": Self::fetch => Self::unmake;
            unrecorded "announce": Self::announce;
        ]
    }
}

impl Receive {
    pub(super) fn new(create: Create, instance_only: bool, held: Held) -> Self {
        let to = Root {
            project: create.project.clone(),
            name: create.name.clone(),
            pool: create.pool.clone(),
        };
        Self {
            incoming: Incoming::new(to, &create.devices, (instance_only, held)),
            create,
            is_new: false,
        }
    }

    async fn greet(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.read().await?;
        self.create.require_free(&mut tx).await?;
        drop(tx);
        let parent = Parent {
            architecture: &self.create.architecture,
            profiles: &self.create.profiles,
            is_ephemeral: self.create.ephemeral,
        };
        self.incoming.greet(task, parent, None).await?;
        let ids = self.incoming.ids.clone();
        self.create.config.insert(ON_DISK.to_owned(), ids);
        self.is_new = true;
        Ok(())
    }

    async fn insert(&mut self, task: &Task) -> Result<()> {
        let mut tx = task.app.cluster.begin().await?;
        let (instance, volume) = self.create.insert_into(&mut tx, &task.app).await?;
        for snapshot in &self.incoming.snapshots {
            snapshot.insert(&mut tx, instance, Some(volume)).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn remove(&mut self, task: &Task) -> Result<()> {
        match self.is_new {
            true => self.create.remove(task).await,
            false => Ok(()),
        }
    }

    async fn fetch(&mut self, task: &Task) -> Result<()> {
        self.create.make_volume(task).await?;
        self.incoming.fetch(task).await
    }

    async fn unmake(&mut self, task: &Task) -> Result<()> {
        match self.is_new {
            true => self.create.remove_volume(task).await,
            false => Ok(()),
        }
    }

    async fn announce(&mut self, task: &Task) -> Result<()> {
        self.create.announce(task).await?;
        let instance = (self.create.project.as_str(), self.create.name.as_str());
        for snapshot in &self.incoming.snapshots {
            tell(
                &task.app,
                instance,
                &snapshot.name,
                Action::InstanceSnapshotCreated,
            );
        }
        Ok(())
    }
}

/// A root disk for an instance whose own one is in a pool that is not here, or that has none and gets none by its profiles: in
/// the pool of the profiles, or in the only one.
pub(in crate::instances) fn place_root(own: &mut Devices, profiles: &Devices, pools: &[String]) {
    let is_known = |root: &Device| root.get("pool").is_some_and(|pool| pools.contains(pool));
    let given = root_disk(profiles).ok().map(|(_, root)| root.clone());
    let pool = match (given.filter(|root| is_known(root)), pools) {
        (Some(root), _) => root.get("pool").cloned(),
        (None, [only]) => Some(only.clone()),
        _ => None,
    };
    let Some(pool) = pool else {
        return;
    };
    let found = root_disk(own)
        .ok()
        .map(|(name, root)| (name.to_owned(), is_known(root)));
    match found {
        Some((_, true)) => {}
        Some((name, false)) => {
            own.entry(name).or_default().insert("pool".into(), pool);
        }
        None if root_disk(profiles).is_ok() => {}
        None => {
            let root = [("type", "disk"), ("path", "/"), ("pool", pool.as_str())];
            let root = root.map(|(key, value)| (key.to_owned(), value.to_owned()));
            own.insert("root".into(), root.into());
        }
    }
}

/// The configuration that comes with an instance from another server.
pub(in crate::instances) fn note_base(config: &mut Config, base_image: &str) {
    if !base_image.is_empty() {
        config.insert("volatile.base_image".into(), base_image.to_owned());
    }
}
