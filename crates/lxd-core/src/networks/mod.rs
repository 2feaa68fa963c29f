//! Networks: those that are ours, and the host's other interfaces.

mod access;
mod leases;
mod presets;
mod shown;
#[cfg(test)]
mod tests;
mod works;

use std::sync::Arc;

use lxd_api::networks::{Network, NetworkPut, NetworkState, NetworksPost};
use lxd_db::cluster::networks as rows;
use lxd_db::cluster::networks::Network as Row;
use lxd_db::cluster::projects::{self, Feature};
use lxd_db::cluster::{State, Tx, used_by};
use lxd_model::config::Config;
use lxd_model::networks::NetworkType;
use lxd_model::{ErrorKind, names};
use lxd_network::{Driver, Fill, interfaces};
use serde_json::Value;

use crate::app::App;
use crate::ctx::{Ctx, DEFAULT_PROJECT};
use crate::error::{Context as _, Error, Result};
use crate::etag::{self, Tagged};
use crate::events::{Action, Lifecycle};
use crate::operations::{self, Work};

pub use leases::leases;
pub use presets::Presets;
pub(crate) use presets::reload as reload_presets;
pub use shown::Shown;
use works::Stored;
pub(crate) use works::works;

/// The URL of a network of a project.
pub fn url(project: &str, name: &str) -> String {
    crate::urls::object(project, &["networks", name])
}

/// A project and where its networks are.
struct Home {
    /// The project that holds the networks: itself, or the default one.
    holder: String,
    /// The configuration of the project itself.
    config: Config,
}

/// The URLs of the project's networks, ours first.
///
/// # Errors
/// The caller may not see the project; there is none.
pub async fn urls(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<String>> {
    let all = all(app, ctx, false).await?;
    Ok(all
        .iter()
        .map(|(holder, network)| url(holder, &network.name))
        .collect())
}

/// The project's networks: ours by name, and then, where they are the default project's, the host's other interfaces.
///
/// # Errors
/// As [`urls`].
pub async fn list(app: &Arc<App>, ctx: &Ctx) -> Result<Vec<Shown>> {
    let all = all(app, ctx, true).await?;
    Ok(all.into_iter().map(|(_, network)| Shown(network)).collect())
}

async fn all(app: &App, ctx: &Ctx, with_users: bool) -> Result<Vec<(String, Network)>> {
    ctx.require_project()?;
    let interfaces = interfaces::list().await?;
    let mut tx = app.cluster.read().await?;
    let home = home_of(&mut tx, ctx).await?;
    let holder = home.holder.as_str();
    let managed = rows::list(&mut tx, Some(holder), app.cluster.node_id()).await?;
    let mut networks: Vec<Network> = managed.into_iter().map(managed_wire).collect();
    if holder == DEFAULT_PROJECT {
        let others = interfaces.into_iter().map(interface_wire);
        let others: Vec<_> = others
            .filter(|other| networks.iter().all(|own| own.name != other.name))
            .collect();
        networks.extend(others);
    }
    let allowed = |network: &Network| access::is_allowed(&home.config, &network.name, network.managed);
    networks.retain(|network| ctx.is_admin() || allowed(network));
    if with_users {
        for network in &mut networks {
            network.used_by = users(&mut tx, ctx, holder, &network.name).await?;
        }
    }
    Ok(networks
        .into_iter()
        .map(|network| (holder.to_owned(), network))
        .collect())
}

/// One network, or another interface of the host.
///
/// # Errors
/// Not found, also for what the project may not use; the caller may not see the project.
pub async fn get(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<Tagged<Shown>> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let home = home_of(&mut tx, ctx).await?;
    let found = rows::get(&mut tx, &home.holder, name, app.cluster.node_id()).await;
    let mut network = match found {
        Ok(row) => managed_wire(row),
        Err(error) if error.kind() == ErrorKind::NotFound && home.holder == DEFAULT_PROJECT => {
            // The reference has the same text for both.
            interface_wire(interfaces::get(name).await.map_err(|_| error)?)
        }
        Err(error) => return Err(error.into()),
    };
    if !access::is_allowed(&home.config, name, network.managed) {
        return Err(Error::not_found("Network not found"));
    }
    network.used_by = users(&mut tx, ctx, &home.holder, name).await?;
    let writable = NetworkPut::from(&network);
    Ok(Tagged::new(Shown(network), &writable))
}

/// What a network's interface has and does now.
///
/// # Errors
/// There is no such interface, or the project may not use it; the caller may not see the project.
pub async fn state(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<NetworkState> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let home = home_of(&mut tx, ctx).await?;
    let is_managed = rows::id(&mut tx, &home.holder, name).await.is_ok();
    drop(tx);
    if !access::is_allowed(&home.config, name, is_managed) {
        return Err(Error::not_found(format!("Network interface {name:?} not found")));
    }
    Ok(interfaces::state(name).await?)
}

/// Makes a network; gives its URL.
///
/// # Errors
/// A bad name, type, key or value; the name is taken, by a network or another interface; the caller may not.
pub async fn create(app: &Arc<App>, ctx: &Ctx, post: NetworksPost) -> Result<String> {
    ctx.require_project()?;
    if post.name.is_empty() {
        return Err(Error::bad_request("No name provided"));
    }
    let mut tx = app.cluster.read().await?;
    let holder = writable_holder(&mut tx, ctx).await?;
    let kind = kind_of(&post.r#type, &holder)?;
    let driver = app.networks.driver(kind.as_str())?;
    check_name(driver.as_ref(), &post.name)?;
    if rows::id(&mut tx, &holder, &post.name).await.is_ok() {
        return Err(Error::bad_request("The network already exists"));
    }
    drop(tx);
    // From here on the reference answers with its status for internal errors.
    let refused = |error: lxd_network::Error| match error.kind() {
        ErrorKind::BadRequest => Error::from(error).with_kind(ErrorKind::Internal),
        _ => error.into(),
    };
    let wanted = lxd_network::Network {
        id: 0,
        name: post.name,
        description: post.description,
        config: post.config,
    };
    let network = driver.fill(wanted, Fill::Create).await.map_err(refused)?;
    driver.validate(&network).map_err(refused)?;
    check_parent(app, driver.as_ref(), &network).await?;
    let (made, name) = (url(&holder, &network.name), network.name.clone());
    let stored = Stored {
        id: 0,
        project: holder.clone(),
        kind: kind.as_str().to_owned(),
        name,
        description: network.description,
        config: network.config,
    };
    run(app, ctx, works::Create::new(stored)).await?;
    tell(
        app,
        ctx,
        &holder,
        Lifecycle::new(Action::NetworkCreated, made.clone()),
    );
    Ok(made)
}

fn check_name(driver: &dyn Driver, name: &str) -> Result<()> {
    match driver.capabilities().interface {
        true => names::network(name)?,
        false => names::preset(name)?,
    }
    Ok(())
}

/// Refuses a parent that serves another network, where the driver needs it alone.
async fn check_parent(app: &App, driver: &dyn Driver, network: &lxd_network::Network) -> Result<()> {
    if !driver.capabilities().owns_parent {
        return Ok(());
    }
    let parent = network.get("parent");
    let is_taken = |row: &Row| row.id != network.id && row.config.get("parent").is_some_and(|p| p == parent);
    match stored(app).await?.iter().any(is_taken) {
        true => Err(Error::refused(format!(
            "Parent interface {parent:?} in use by another network"
        ))),
        false => Ok(()),
    }
}

/// Runs a work that changes networks, after which cards may get something else from them. What was done stays done where that
/// can't be read: the next change, or start, reads it.
async fn run<W: Work>(app: &Arc<App>, ctx: &Ctx, work: W) -> Result<()> {
    let done = operations::run(app, ctx, work).await;
    if let Err(error) = presets::reload(app).await {
        tracing::warn!(err = error.text(), "Failed reading what networks give to cards");
    }
    done.map(drop)
}

/// The type of a new network. Only those that need no interface of the host can be in other projects.
fn kind_of(word: &str, holder: &str) -> Result<NetworkType> {
    let is_default = holder == DEFAULT_PROJECT;
    let kind = match word {
        "" if !is_default => NetworkType::Ovn,
        word => NetworkType::parse(word)?,
    };
    if !is_default && kind != NetworkType::Ovn {
        return Err(Error::bad_request(
            "Network type does not support non-default projects",
        ));
    }
    Ok(kind)
}

/// Replaces the description and configuration of a network, while it runs.
///
/// # Errors
/// Not found; `If-Match` does not match; a bad key or value; the caller may not.
pub async fn update(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    put: NetworkPut,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |_| Ok(put)).await
}

/// Changes the description or some keys of a network.
///
/// # Errors
/// As [`update`].
pub async fn patch(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    patch: Value,
    if_match: Option<&str>,
) -> Result<()> {
    change(app, ctx, name, if_match, |old| crate::patch::merge(old, patch)).await
}

async fn change(
    app: &Arc<App>,
    ctx: &Ctx,
    name: &str,
    if_match: Option<&str>,
    new: impl FnOnce(&NetworkPut) -> Result<NetworkPut>,
) -> Result<()> {
    let old = find_to_change(app, ctx, name).await?;
    let put = NetworkPut {
        config: old.config.clone(),
        description: old.description.clone(),
    };
    etag::check(if_match, &put)?;
    let put = new(&put)?;
    let driver = app.networks.driver(&old.kind)?;
    let mut wanted = old.plain();
    wanted.config = put.config;
    wanted.description = put.description;
    let wanted = driver.fill(wanted, Fill::Update).await?;
    driver.validate(&wanted)?;
    check_parent(app, driver.as_ref(), &wanted).await?;
    let holder = old.project.clone();
    let new = Stored {
        description: wanted.description,
        config: wanted.config,
        ..old.clone()
    };
    run(app, ctx, works::Update { old, new }).await?;
    let event = Lifecycle::new(Action::NetworkUpdated, url(&holder, name));
    tell(app, ctx, &holder, event);
    Ok(())
}

/// Gives a network that nothing uses another name; gives its new URL.
///
/// # Errors
/// Not found; a bad name; the name is taken; it is in use; the caller may not.
pub async fn rename(app: &Arc<App>, ctx: &Ctx, name: &str, new_name: &str) -> Result<String> {
    let network = find_to_change(app, ctx, name).await?;
    if new_name.is_empty() {
        return Err(Error::bad_request("New network name not provided"));
    }
    check_name(app.networks.driver(&network.kind)?.as_ref(), new_name)?;
    let holder = network.project.clone();
    let mut tx = app.cluster.read().await?;
    if rows::id(&mut tx, &holder, new_name).await.is_ok() {
        return Err(Error::conflict(format!("Network {new_name:?} already exists")));
    }
    if !used_by::network(&mut tx, &holder, name).await?.is_empty() {
        return Err(Error::bad_request("Network is currently in use"));
    }
    drop(tx);
    let work = works::Rename {
        network,
        name: new_name.to_owned(),
        is_free: interfaces::get(new_name).await.is_err(),
    };
    run(app, ctx, work).await?;
    let event = Lifecycle::new(Action::NetworkRenamed, url(&holder, new_name));
    tell(app, ctx, &holder, event.with("old_name", name));
    Ok(url(&holder, new_name))
}

/// Deletes a network that nothing uses.
///
/// # Errors
/// Not found; it is in use; the caller may not.
pub async fn delete(app: &Arc<App>, ctx: &Ctx, name: &str) -> Result<()> {
    let network = find_to_change(app, ctx, name).await?;
    let holder = network.project.clone();
    let mut tx = app.cluster.read().await?;
    if !used_by::network(&mut tx, &holder, name).await?.is_empty() {
        return Err(Error::bad_request("The network is currently in use"));
    }
    drop(tx);
    run(app, ctx, works::Delete { network }).await?;
    let event = Lifecycle::new(Action::NetworkDeleted, url(&holder, name));
    tell(app, ctx, &holder, event);
    Ok(())
}

/// Takes all networks down, when the host or the user wants everything to end. What can't be stopped is logged.
pub async fn stop_all(app: &Arc<App>) {
    let all = match stored(app).await {
        Ok(all) => all,
        Err(error) => return tracing::error!(err = error.text(), "Failed stopping networks"),
    };
    let created = all.iter().filter(|row| row.state == State::Created);
    futures::future::join_all(created.map(async |row| {
        let network = Stored::of(row);
        let stopped = match app.networks.driver(&network.kind) {
            Ok(driver) => driver.stop(&network.plain()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stopped {
            let err = Error::from(error).text();
            tracing::error!(network = row.name, err, "Failed stopping network");
        }
    }))
    .await;
}

async fn stored(app: &App) -> Result<Vec<Row>> {
    let mut tx = app.cluster.read().await?;
    Ok(rows::list(&mut tx, None, app.cluster.node_id()).await?)
}

/// Where the networks of the context's project are.
async fn home_of(tx: &mut Tx, ctx: &Ctx) -> Result<Home> {
    let project = projects::get(tx, &ctx.project).await;
    let project = project.with_context(|| format!("Failed to load project {:?}", ctx.project))?;
    Ok(Home {
        holder: projects::effective(tx, &ctx.project, Feature::Networks).await?,
        config: project.config,
    })
}

async fn writable_holder(tx: &mut Tx, ctx: &Ctx) -> Result<String> {
    let holder = home_of(tx, ctx).await?.holder;
    ctx.in_project(holder.clone()).require_project()?;
    Ok(holder)
}

/// A managed network that the project may use.
async fn find(app: &App, tx: &mut Tx, home: &Home, name: &str) -> Result<Stored> {
    let found = rows::get(tx, &home.holder, name, app.cluster.node_id()).await;
    let row = found.context("Failed loading network")?;
    if access::is_allowed(&home.config, name, true) {
        Ok(Stored::of(&row))
    } else {
        Err(Error::not_found("Network not found"))
    }
}

async fn find_to_change(app: &App, ctx: &Ctx, name: &str) -> Result<Stored> {
    ctx.require_project()?;
    let mut tx = app.cluster.read().await?;
    let home = home_of(&mut tx, ctx).await?;
    writable_holder(&mut tx, ctx).await?;
    find(app, &mut tx, &home, name).await
}

/// The users of a network that the caller may see.
async fn users(tx: &mut Tx, ctx: &Ctx, holder: &str, name: &str) -> Result<Vec<String>> {
    let users = used_by::network(tx, holder, name).await?;
    let is_seen = |user: &&used_by::User| ctx.may_see_project(crate::urls::project_of(user));
    Ok(users.iter().filter(is_seen).map(crate::urls::user).collect())
}

fn tell(app: &App, ctx: &Ctx, project: &str, event: Lifecycle) {
    app.events.lifecycle(project, &event.by(ctx));
}

fn managed_wire(row: Row) -> Network {
    let member = |(name, _): (String, State)| if name.is_empty() { "none".to_owned() } else { name };
    Network {
        config: row.config,
        description: row.description,
        name: row.name,
        r#type: row.kind.as_str().to_owned(),
        used_by: Vec::new(),
        managed: true,
        status: row.state.as_str().to_owned(),
        locations: row.nodes.into_iter().map(member).collect(),
    }
}

fn interface_wire(interface: interfaces::Interface) -> Network {
    Network {
        name: interface.name,
        r#type: interface.kind.to_owned(),
        ..Network::default()
    }
}
