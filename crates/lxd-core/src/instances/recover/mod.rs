//! Bringing back instances and volumes that pools hold and the database does not know: `lxd recover`.

#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lxd_api::recover::{RecoverFound, RecoverPost, RecoverVolume};
use lxd_api::storage_pools::StoragePoolsPost;
use lxd_db::cluster::profiles as profile_rows;
use lxd_db::cluster::projects::{self, Feature};
use lxd_db::cluster::storage_volumes::{self, Filter as VolumeFilter};
use lxd_db::cluster::{Tx, VolumeType as RowType, instances as rows, networks};
use lxd_model::devices::property;
use lxd_model::projects::instance_path;
use lxd_model::{names, yaml};
use lxd_storage::{OnDisk, Pool, VolumeType};

use super::backup_file::BackupFile;
use super::record::profiles_of;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Context as _, Error, Result};
use crate::operations::{self, Works};
use work::{Found, NewPool, Recover};

/// The kinds of works of this folder.
pub(super) fn works(works: &mut Works) {
    works.add::<Recover>();
}

/// Looks into pools for what the database does not know. Nothing is changed.
///
/// # Errors
/// A pool can't be opened; something in it makes no sense; the caller may not.
pub async fn validate(app: &Arc<App>, ctx: &Ctx, post: RecoverPost) -> Result<RecoverFound> {
    ctx.require_admin()?;
    let scanned = scan(app, &post.pools).await;
    let result = match scanned {
        Ok(found) => describe(app, &found).await,
        Err(error) => Err(error),
    };
    // Those that are new are only kept once they are brought back.
    close(app, &post.pools).await?;
    result
}

/// Brings back all that [`validate`] finds.
///
/// # Errors
/// As [`validate`]; something is missing that must be made before.
pub async fn import(app: &Arc<App>, ctx: &Ctx, post: RecoverPost) -> Result<()> {
    ctx.require_admin()?;
    let imported = async {
        let found = scan(app, &post.pools).await?;
        let described = describe(app, &found).await?;
        if let Some(missing) = described.dependency_errors.and_then(|all| all.into_iter().next()) {
            return Err(Error::bad_request(format!("Missing {missing}")));
        }
        let work = plan(app, &post.pools, found).await?;
        operations::run(app, ctx, work).await.map(drop)
    };
    let imported = imported.await;
    if imported.is_err() {
        close(app, &post.pools).await?;
    }
    imported
}

/// A pool, and what lies in it unknown.
struct Scanned {
    pool: String,
    volumes: Vec<Lost>,
}

/// A volume of nobody's.
struct Lost {
    on_disk: OnDisk,
    project: String,
    name: String,
    /// What an instance's own file says.
    file: Option<BackupFile>,
}

async fn scan(app: &App, new: &[StoragePoolsPost]) -> Result<Vec<Scanned>> {
    for post in new {
        open(app, post).await?;
    }
    let mut tx = app.cluster.read().await?;
    let known = storage_volumes::list(&mut tx, VolumeFilter::default()).await?;
    drop(tx);
    let known: BTreeSet<(String, String)> = known
        .into_iter()
        .filter_map(|volume| match volume.kind {
            RowType::Container => Some((
                volume.pool,
                format!("container/{}", instance_path(&volume.project, &volume.name)),
            )),
            RowType::Custom => Some((volume.pool, format!("custom/{}_{}", volume.project, volume.name))),
            _ => None,
        })
        .collect();
    let mut scanned = Vec::new();
    for pool in app.pools.list() {
        let checking = || format!("Failed checking volumes on pool {:?}", pool.name());
        let on_disk = pool.scan().await.with_context(checking)?;
        let unknown = on_disk.into_iter().filter(|found| {
            let word = format!("{}/{}", found.volume.kind.word(), found.volume.name);
            !known.contains(&(pool.name().to_owned(), word))
        });
        let volumes = unknown
            .map(|found| identify(&pool, found))
            .filter_map(Result::transpose);
        scanned.push(Scanned {
            pool: pool.name().to_owned(),
            volumes: volumes.collect::<Result<_>>().with_context(checking)?,
        });
    }
    Ok(scanned)
}

/// Opens a pool that the database does not know, at the place that the caller says.
async fn open(app: &App, post: &StoragePoolsPost) -> Result<()> {
    names::storage_pool(&post.name)?;
    if app.pools.get(&post.name).is_ok() {
        return Ok(());
    }
    let valid = lxd_storage::Pools::validate(&post.driver, &post.config);
    valid.with_context(|| format!("Failed config validation for unknown pool {:?}", post.name))?;
    let source = post.config.get("source").map_or("", String::as_str);
    let place = app.paths.storage_pool(&post.name);
    if !std::path::Path::new(source).is_dir() && !place.is_dir() {
        return Err(Error::bad_request(format!(
            "Source path {source:?} isn't a directory"
        )));
    }
    let opened = app
        .pools
        .open(&post.name, &post.driver, post.config.clone())
        .await;
    opened
        .map(drop)
        .with_context(|| format!("Failed mounting pool {:?}", post.name))
}

/// Lets go of pools that are not in the database.
async fn close(app: &App, new: &[StoragePoolsPost]) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    for post in new {
        if lxd_db::cluster::storage_pools::id(&mut tx, &post.name)
            .await
            .is_err()
        {
            app.pools.close(&post.name).await?;
        }
    }
    Ok(())
}

/// Whose a volume is; none for what can't be told and is left alone.
fn identify(pool: &Pool, on_disk: OnDisk) -> Result<Option<Lost>> {
    let name = on_disk.volume.name.clone();
    if on_disk.volume.kind == VolumeType::Custom {
        let Some((project, own)) = name.split_once('_') else {
            return Ok(None);
        };
        if names::project(project).is_err() || names::storage_volume(own).is_err() {
            return Ok(None);
        }
        return Ok(Some(Lost {
            project: project.to_owned(),
            name: own.to_owned(),
            on_disk,
            file: None,
        }));
    }
    let Some(text) = &on_disk.backup_file else {
        tracing::warn!(
            pool = pool.name(),
            volume = name,
            "An instance without backup.yaml can't be recovered"
        );
        return Ok(None);
    };
    let (project, own) = name
        .split_once('_')
        .unwrap_or((lxd_model::projects::DEFAULT, &name));
    let file: BackupFile = yaml::from_str(text).map_err(|error| {
        Error::bad_request(format!(
            "Instance {own:?} in project {project:?} has a backup file that makes no sense: {error}"
        ))
    })?;
    let Some(container) = &file.container else {
        return Err(Error::bad_request(format!(
            "Instance {own:?} in project {project:?} has no instance in its backup file"
        )));
    };
    if container.name != own {
        return Err(Error::internal(format!(
            "Instance {own:?} in project {project:?} has a different instance name in its backup file ({:?})",
            container.name
        )));
    }
    if !container.project.is_empty() && container.project != project {
        return Err(Error::internal(format!(
            "Instance {own:?} in project {project:?} has a different project in its backup file ({:?})",
            container.project
        )));
    }
    if let Some(known) = file.pool.as_ref().filter(|known| known.name != pool.name()) {
        return Err(Error::internal(format!(
            "Instance {own:?} in project {project:?} has pool name mismatch in its backup file ({:?} doesn't match's pool's \
             {:?})",
            known.name,
            pool.name()
        )));
    }
    names::instance(own)?;
    let mut on_disk = on_disk;
    on_disk
        .snapshots
        .retain(|snapshot| names::snapshot(snapshot).is_ok());
    Ok(Some(Lost {
        project: project.to_owned(),
        name: own.to_owned(),
        on_disk,
        file: Some(file),
    }))
}

/// What is told of the found, and what it needs that is not there.
async fn describe(app: &App, scanned: &[Scanned]) -> Result<RecoverFound> {
    let mut tx = app.cluster.read().await?;
    let mut missing = BTreeSet::new();
    let mut volumes = Vec::new();
    let projects = projects::names(&mut tx).await?;
    for one in scanned {
        volumes.extend(one.volumes.iter().map(|lost| wire(&one.pool, lost)));
    }
    let all: Vec<&Lost> = scanned.iter().flat_map(|one| &one.volumes).collect();
    for lost in all {
        if !projects.contains(&lost.project) {
            missing.insert(format!("Project {:?}", lost.project));
        } else if let Some(file) = &lost.file {
            dependencies(app, &mut tx, (&lost.project, file), &mut missing).await?;
        }
    }
    Ok(RecoverFound {
        unknown_volumes: Some(volumes).filter(|all| !all.is_empty()),
        dependency_errors: Some(missing.into_iter().collect::<Vec<_>>()).filter(|all| !all.is_empty()),
    })
}

fn wire(pool: &str, lost: &Lost) -> RecoverVolume {
    RecoverVolume {
        name: lost.name.clone(),
        r#type: if lost.file.is_some() {
            "container"
        } else {
            "volume"
        }
        .to_owned(),
        snapshot_count: lost.on_disk.snapshots.len(),
        project: lost.project.clone(),
        pool: pool.to_owned(),
    }
}

/// The profiles and networks that an instance needs and that are not there.
async fn dependencies(
    app: &App,
    tx: &mut Tx,
    (project, file): (&str, &BackupFile),
    missing: &mut BTreeSet<String>,
) -> Result<()> {
    let Some(container) = &file.container else {
        return Ok(());
    };
    let home = projects::effective(tx, project, Feature::Profiles).await?;
    let known: BTreeMap<String, _> = profile_rows::list(tx, Some(&home))
        .await?
        .into_iter()
        .map(|one| (one.name.clone(), one))
        .collect();
    let unknown = container
        .profiles
        .iter()
        .filter(|name| !known.contains_key(*name));
    missing.extend(unknown.map(|name| format!("Profile {name:?} in project {project:?}")));
    let home = projects::effective(tx, project, Feature::Networks).await?;
    let cards = container
        .expanded_devices
        .values()
        .filter(|device| property(device, "type") == "nic");
    let wanted: BTreeSet<String> = cards
        .map(|device| property(device, "network").to_owned())
        .collect();
    for network in wanted {
        if network.is_empty() {
            continue;
        }
        if networks::get(tx, &home, &network, app.cluster.node_id())
            .await
            .is_err()
        {
            missing.insert(format!("Network {network:?} in project {project:?}"));
        }
    }
    Ok(())
}

async fn plan(app: &App, new: &[StoragePoolsPost], scanned: Vec<Scanned>) -> Result<Recover> {
    let mut tx = app.cluster.read().await?;
    let mut pools = Vec::new();
    for post in new {
        if lxd_db::cluster::storage_pools::id(&mut tx, &post.name)
            .await
            .is_err()
        {
            let mut config = post.config.clone();
            config
                .entry("source".into())
                .or_insert_with(|| app.paths.storage_pool(&post.name).display().to_string());
            pools.push(NewPool {
                name: post.name.clone(),
                driver: post.driver.clone(),
                description: post.description.clone(),
                config,
            });
        }
    }
    let mut found = Vec::new();
    for one in scanned {
        for lost in one.volumes {
            if lost.file.is_some() && rows::id(&mut tx, &lost.project, &lost.name).await.is_ok() {
                let text = format!(
                    "Instance {:?} in project {:?} is in another pool already",
                    lost.name, lost.project
                );
                return Err(Error::conflict(text));
            }
            let mut file = lost.file.unwrap_or_default();
            if file.container.is_some() {
                let known = profiles_of(&mut tx, &lost.project).await?;
                work::keep_pool(&mut file, &known, &one.pool);
            }
            let wire = file.container;
            let (is_block, on_disk) = (lost.on_disk.is_block, lost.on_disk.snapshots);
            found.push(Found {
                pool: one.pool.clone(),
                project: lost.project,
                name: lost.name,
                is_block,
                snapshots: file
                    .snapshots
                    .into_iter()
                    .filter(|s| on_disk.contains(&s.name))
                    .collect(),
                volume_snapshots: on_disk,
                wire,
            });
        }
    }
    Ok(Recover { pools, found })
}
