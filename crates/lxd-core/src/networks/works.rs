//! Making, changing, renaming and deleting a network, step by step.

use lxd_db::cluster::networks as rows;
use lxd_db::cluster::networks::NewNetwork;
use lxd_db::cluster::{NetworkType, State};
use lxd_model::ErrorKind;
use lxd_network::{Driver, Network, interfaces};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::App;
use crate::error::{Error, Result};
use crate::operations::{OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this noun.
pub(crate) fn works(works: &mut Works) {
    works.add::<Create>();
    works.add::<Update>();
    works.add::<Rename>();
    works.add::<Delete>();
}

/// A network as works record it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) project: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) config: BTreeMap<String, String>,
}

impl Stored {
    pub(super) fn of(row: &rows::Network) -> Self {
        Self {
            id: row.id,
            project: row.project.clone(),
            kind: row.kind.as_str().to_owned(),
            name: row.name.clone(),
            description: row.description.clone(),
            config: row.config.clone(),
        }
    }

    /// As drivers take it.
    pub(super) fn plain(&self) -> Network {
        Network {
            id: self.id,
            name: self.name.clone(),
            description: self.description.clone(),
            config: self.config.clone(),
        }
    }

    fn driver(&self, app: &App) -> Result<Arc<dyn Driver>> {
        Ok(app.networks.driver(&self.kind)?)
    }
}

/// A network that is made: a pending row, the network itself, the row's new state.
#[derive(Serialize, Deserialize)]
pub(super) struct Create {
    /// What is made; the id is the row's, once there is one.
    network: Stored,
    /// Whether the host had no interface of the name before, so that undoing never takes away somebody else's.
    is_free: bool,
}

impl Create {
    pub(super) fn new(network: Stored) -> Self {
        Self {
            network,
            is_free: false,
        }
    }
}

impl Work for Create {
    const KIND: &'static str = "networks.create";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "row": insert => remove;
            "network": make => unmake;
            unrecorded "created": finish;
        ]
    }
}

async fn insert(work: &mut Create, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let network = &work.network;
    let is_interface = network.driver(&task.app)?.capabilities().interface;
    let is_free = !is_interface || interfaces::get(&network.name).await.is_err();
    let new = NewNetwork {
        project: network.project.clone(),
        name: network.name.clone(),
        description: network.description.clone(),
        kind: NetworkType::from_word(&network.kind).unwrap_or(NetworkType::Bridge),
        config: network.config.clone(),
    };
    let mut tx = cluster.begin().await?;
    let id = rows::create(&mut tx, &new, cluster.node_id()).await?;
    tx.commit().await?;
    work.network.id = id;
    work.is_free = is_free;
    Ok(())
}

/// Takes the row away: the one that was made, or, after a crash that came before its id was noted, the pending one.
async fn remove(work: &mut Create, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let network = &work.network;
    let mut tx = cluster.begin().await?;
    let Ok(row) = rows::get(&mut tx, &network.project, &network.name, cluster.node_id()).await else {
        return Ok(());
    };
    let is_own = match network.id {
        0 => row.state == State::Pending,
        id => row.id == id,
    };
    if is_own {
        rows::delete(&mut tx, row.id).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn make(work: &mut Create, task: &Task) -> Result<()> {
    let driver = work.network.driver(&task.app)?;
    let made = driver.create(&work.network.plain()).await;
    made.map_err(|error| {
        if matches!(error, lxd_network::Error::InterfaceExists(_)) {
            work.is_free = false;
        }
        Error::from(error).with_kind(ErrorKind::Internal)
    })
}

async fn unmake(work: &mut Create, task: &Task) -> Result<()> {
    if !work.is_free {
        return Ok(());
    }
    let driver = work.network.driver(&task.app)?;
    Ok(driver.delete(&work.network.plain()).await?)
}

async fn finish(work: &mut Create, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let mut tx = cluster.begin().await?;
    rows::set_state(&mut tx, work.network.id, cluster.node_id(), State::Created).await?;
    Ok(tx.commit().await?)
}

/// A network that is changed: itself, then its row.
#[derive(Serialize, Deserialize)]
pub(super) struct Update {
    pub(super) old: Stored,
    pub(super) new: Stored,
}

impl Work for Update {
    const KIND: &'static str = "networks.update";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "network": apply => revert;
            unrecorded "row": store => restore;
        ]
    }
}

async fn apply(work: &mut Update, task: &Task) -> Result<()> {
    let driver = work.new.driver(&task.app)?;
    Ok(driver.update(&work.old.plain(), &work.new.plain()).await?)
}

async fn revert(work: &mut Update, task: &Task) -> Result<()> {
    let driver = work.new.driver(&task.app)?;
    Ok(driver.update(&work.new.plain(), &work.old.plain()).await?)
}

async fn store(work: &mut Update, task: &Task) -> Result<()> {
    write(&work.new, task).await
}

async fn restore(work: &mut Update, task: &Task) -> Result<()> {
    write(&work.old, task).await
}

async fn write(network: &Stored, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let mut tx = cluster.begin().await?;
    let (description, config) = (&network.description, &network.config);
    rows::update(&mut tx, network.id, cluster.node_id(), description, config).await?;
    Ok(tx.commit().await?)
}

/// A network that gets another name: itself, then its row.
#[derive(Serialize, Deserialize)]
pub(super) struct Rename {
    pub(super) network: Stored,
    pub(super) name: String,
    /// Whether the host had no interface of the new name before.
    pub(super) is_free: bool,
}

impl Work for Rename {
    const KIND: &'static str = "networks.rename";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "network": move_there => move_back;
            unrecorded "row": name_anew => name_again;
        ]
    }
}

async fn move_there(work: &mut Rename, task: &Task) -> Result<()> {
    let driver = work.network.driver(&task.app)?;
    let moved = driver.rename(&work.network.plain(), &work.name).await;
    moved.map_err(|error| Error::from(error).with_kind(ErrorKind::Internal))
}

async fn move_back(work: &mut Rename, task: &Task) -> Result<()> {
    // The old name in use means that nothing was moved, or all of it back.
    if !work.is_free || interfaces::get(&work.network.name).await.is_ok() {
        return Ok(());
    }
    let driver = work.network.driver(&task.app)?;
    let moved = Network {
        name: work.name.clone(),
        ..work.network.plain()
    };
    Ok(driver.rename(&moved, &work.network.name).await?)
}

async fn name_anew(work: &mut Rename, task: &Task) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    rows::rename(&mut tx, work.network.id, &work.name).await?;
    Ok(tx.commit().await?)
}

async fn name_again(work: &mut Rename, task: &Task) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    rows::rename(&mut tx, work.network.id, &work.network.name).await?;
    Ok(tx.commit().await?)
}

/// A network that is deleted: first itself, then its row. Once begun it goes on to its end.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    pub(super) network: Stored,
}

impl Work for Delete {
    const KIND: &'static str = "networks.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "network": unlink;
            unrecorded "row": delete_row;
        ]
    }
}

async fn unlink(work: &mut Delete, task: &Task) -> Result<()> {
    let driver = work.network.driver(&task.app)?;
    Ok(driver.delete(&work.network.plain()).await?)
}

async fn delete_row(work: &mut Delete, task: &Task) -> Result<()> {
    let mut tx = task.app.cluster.begin().await?;
    rows::delete(&mut tx, work.network.id).await?;
    Ok(tx.commit().await?)
}
