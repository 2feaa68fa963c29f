//! Bringing an image in and taking one away, step by step.

use std::collections::BTreeMap;

use lxd_api::Time;
use lxd_api::images::{Image, ImageAlias};
use lxd_db::cluster::images as rows;
use lxd_db::cluster::images::NewImage;
use lxd_db::cluster::{InstanceType, VolumeType, projects, storage_volumes};
use lxd_model::images::parse_metadata;
use lxd_model::instances::architecture;
use lxd_storage::images::{Contents, ImageFiles, read_contents};
use serde::{Deserialize, Serialize};

use super::locks::{Reading, Writing};
use super::receive::Upload;
use super::refresh::Replace;
use super::remote::Wish;
use super::{DEFAULT_PROFILES, aliases, url};
use crate::app::{App, blocking};
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{OnCrash, Step, Task, Work, Works};
use crate::steps;

/// The kinds of works of this noun.
pub(crate) fn works(works: &mut Works) {
    works.add::<Import>();
    works.add::<Delete>();
    works.add::<Replace>();
}

/// What a client says about an image that it sends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// The name of the file that it was.
    pub filename: String,
    /// Whether anyone may use it.
    pub public: bool,
    /// Properties, which go before those in the image.
    pub properties: BTreeMap<String, String>,
    /// The fingerprint that it should have; empty when the client does not say.
    pub fingerprint: String,
    /// For an image that this server has made: what goes before what the image says of itself.
    #[serde(default)]
    pub stated: Option<Stated>,
    /// The profiles for its instances; the default one if none are said.
    #[serde(default)]
    pub profiles: Option<Vec<String>>,
    /// Aliases that it gets.
    #[serde(default)]
    pub aliases: Vec<ImageAlias>,
    /// What lets a sender that is not known wait for the end; empty for none.
    #[serde(skip)]
    pub secret: String,
    /// For an image that came from another server.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// Where an image came from, and what its server says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The server; its name is the alias that was followed.
    pub source: Wish,
    /// Whether the image follows its source.
    pub auto_update: bool,
    /// Whether it was fetched for an instance, and may be forgotten.
    pub cached: bool,
    /// What the server says of it; none where only its files tell.
    pub image: Option<Image>,
}

impl Origin {
    /// The same for the database; none for what can't be followed.
    pub(super) fn row(&self) -> Option<rows::Source> {
        Some(rows::Source {
            server: self.source.server.clone(),
            protocol: self.source.protocol.into(),
            certificate: self.source.certificate.clone(),
            alias: self.source.name.clone(),
        })
        .filter(|source| !source.alias.is_empty())
    }
}

/// What is said of an image that this server has made of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// When it was made.
    pub created_at: Time,
    /// When it expires.
    pub expires_at: Time,
    /// The profiles for its instances; the default one if there are none.
    pub profiles: Vec<String>,
}

/// An image that has arrived and becomes one of the project's: looked into, its files named, its row made.
#[derive(Serialize, Deserialize)]
pub(super) struct Import {
    /// The project that will hold it.
    project: String,
    request: ImportRequest,
    fingerprint: String,
    size: u64,
    /// What it says of itself; known once it was looked into and found to be new in its project. From then on whatever
    /// of it is found in that project is this work's.
    facts: Option<Facts>,
    #[serde(skip)]
    upload: Option<Upload>,
    /// The folder of the files stays where it is. This comes before `alone` everywhere, so that nobody waits in a circle.
    #[serde(skip)]
    still: Option<Reading>,
    #[serde(skip)]
    alone: Option<Writing>,
    /// Why the image has got none of its aliases.
    #[serde(skip)]
    refused: Option<Error>,
}

#[derive(Serialize, Deserialize)]
struct Facts {
    virtual_machine: bool,
    architecture: String,
    created_at: Time,
    expires_at: Time,
    properties: BTreeMap<String, String>,
}

impl Facts {
    /// What the server that an image came from says of it.
    fn said(image: &Image, request: &ImportRequest) -> Self {
        let mut properties = image.properties.clone();
        properties.extend(request.properties.clone());
        Self {
            virtual_machine: image.r#type == InstanceType::VirtualMachine.as_str(),
            architecture: image.architecture.clone(),
            created_at: image.created_at,
            expires_at: image.expires_at,
            properties,
        }
    }
}

impl Import {
    pub(super) fn new(project: String, mut upload: Upload, mut request: ImportRequest) -> Self {
        // The name of the part goes before that of the whole, as with the reference.
        if !upload.filename.is_empty() && request.origin.is_none() {
            request.filename = std::mem::take(&mut upload.filename);
        }
        Self {
            project,
            request,
            fingerprint: upload.fingerprint.clone(),
            size: upload.size(),
            facts: None,
            upload: Some(upload),
            still: None,
            alone: None,
            refused: None,
        }
    }

    /// What is told of the aliases once the image is there: it stays, whether it has got all of them or not.
    pub(super) fn named(self) -> Result<()> {
        self.refused.map_or(Ok(()), Err)
    }

    fn kind(facts: &Facts) -> InstanceType {
        if facts.virtual_machine {
            InstanceType::VirtualMachine
        } else {
            InstanceType::Container
        }
    }
}

impl Work for Import {
    const KIND: &'static str = "images.import";
    const ON_CRASH: OnCrash = OnCrash::Undo;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "inspect": inspect;
            "files": place => remove_placed;
            unrecorded "row": insert => remove_row;
        ]
    }
}

/// Looks into the files, and waits until nobody else brings or removes the same image.
async fn inspect(work: &mut Import, task: &Task) -> Result<()> {
    let wanted = &work.request.fingerprint;
    if !wanted.is_empty() && *wanted != work.fingerprint {
        return Err(Error::bad_request(format!(
            "fingerprints don't match, got {} expected {wanted}",
            work.fingerprint
        )));
    }
    let upload = work.upload.as_ref().ok_or_else(lost)?;
    let said = work
        .request
        .origin
        .as_ref()
        .and_then(|origin| origin.image.as_ref());
    let facts = match said {
        Some(image) => Facts::said(image, &work.request),
        None => {
            let (files, is_disk) = (upload.files(), upload.is_disk);
            let contents = blocking(move || Ok(read_contents(&files, is_disk)?)).await?;
            facts(contents, &work.request)?
        }
    };
    let (fingerprint, size) = (work.fingerprint.as_str(), work.size.to_string());
    task.operation.update_metadata([
        ("fingerprint".to_owned(), fingerprint.into()),
        ("size".to_owned(), size.into()),
    ]);
    work.alone = Some(task.app.images.write(&work.fingerprint).await);
    let mut tx = task.app.cluster.read().await?;
    let holders = rows::projects_of(&mut tx, &work.fingerprint).await?;
    if holders.contains(&work.project) {
        return Err(Error::conflict(match &work.request.stated {
            None => "Image with same fingerprint already exists".to_owned(),
            Some(_) => format!("The image already exists: {}", work.fingerprint),
        }));
    }
    work.facts = Some(facts);
    Ok(())
}

fn facts(contents: Contents, request: &ImportRequest) -> Result<Facts> {
    let metadata = parse_metadata(&contents.metadata)?;
    let mut properties = metadata.properties;
    properties.extend(request.properties.clone());
    let stated = request.stated.as_ref();
    Ok(Facts {
        virtual_machine: contents.virtual_machine,
        // Images may say it as their distributions do.
        architecture: architecture::name(architecture::id(&metadata.architecture)?)?.to_owned(),
        created_at: stated.map_or(Time::from_unix(metadata.creation_date), |it| it.created_at),
        expires_at: stated.map_or(Time::from_unix(metadata.expiry_date), |it| it.expires_at),
        properties,
    })
}

/// Gives the files their names. If another project has the image, these are the same bytes.
async fn place(work: &mut Import, task: &Task) -> Result<()> {
    let upload = work.upload.take().ok_or_else(lost)?;
    work.still = Some(upload.still);
    let paths = task.app.paths.clone();
    let fingerprint = work.fingerprint.clone();
    blocking(move || {
        if let Some(rootfs) = upload.rootfs {
            rootfs.keep(&paths.image_rootfs(&fingerprint))?;
        }
        upload.metadata.keep(&paths.image(&fingerprint))?;
        Ok(())
    })
    .await
}

async fn remove_placed(work: &mut Import, task: &Task) -> Result<()> {
    if work.facts.is_none() {
        return Ok(());
    }
    if work.still.is_none() {
        work.still = Some(task.app.images.still().await);
    }
    remove_unused_files(&task.app, &work.fingerprint, None).await
}

async fn insert(work: &mut Import, task: &Task) -> Result<()> {
    let cluster = &task.app.cluster;
    let facts = work.facts.as_ref().ok_or_else(lost)?;
    let origin = work.request.origin.as_ref();
    let stated = work.request.stated.as_ref().map(|stated| stated.profiles.clone());
    let stated = stated.filter(|profiles| !profiles.is_empty());
    let profiles = profiles_or_default(stated.or_else(|| work.request.profiles.clone()));
    let image = NewImage {
        fingerprint: work.fingerprint.clone(),
        filename: work.request.filename.clone(),
        size: i64::try_from(work.size).unwrap_or(i64::MAX),
        kind: Import::kind(facts),
        architecture: facts.architecture.clone(),
        created_at: facts.created_at.timestamp(),
        expires_at: facts.expires_at.timestamp(),
        public: work.request.public,
        cached: origin.is_some_and(|origin| origin.cached),
        auto_update: origin.is_some_and(|origin| origin.auto_update),
        properties: facts.properties.clone(),
        profiles,
        source: origin.and_then(Origin::row),
    };
    let mut tx = cluster.begin().await?;
    let id = rows::create(&mut tx, &work.project, cluster.node_id(), &image).await?;
    let given = aliases::give(&mut tx, &work.project, id, &work.request.aliases).await?;
    tx.commit().await?;
    let event = Lifecycle::new(Action::ImageCreated, url(&work.project, &work.fingerprint))
        .with("type", image.kind.as_str())
        .by(&task.ctx);
    task.app.events.lifecycle(&work.project, &event);
    let holder = (work.project.as_str(), work.fingerprint.as_str());
    aliases::given(&task.app, &task.ctx, holder, given.aliases);
    work.refused = given.refused;
    Ok(())
}

async fn remove_row(work: &mut Import, task: &Task) -> Result<()> {
    if work.facts.is_none() {
        return Ok(());
    }
    delete_row_of(&task.app, &work.project, &work.fingerprint).await
}

/// An image that is deleted: what pools have unpacked of it, its files, its row. Once begun it goes on to its end.
/// Another project's image of the same bytes keeps all but the row.
#[derive(Serialize, Deserialize)]
pub(super) struct Delete {
    project: String,
    fingerprint: String,
    #[serde(skip)]
    still: Option<Reading>,
    #[serde(skip)]
    alone: Option<Writing>,
}

impl Delete {
    pub(super) fn new(project: String, fingerprint: String) -> Self {
        Self {
            project,
            fingerprint,
            still: None,
            alone: None,
        }
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) async fn empty_pools(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        let app = &task.app;
        let mut tx = app.cluster.read().await?;
        let is_shared = is_used_elsewhere(&mut tx, &self.fingerprint, Some(&self.project)).await?;
        drop(tx);
        if is_shared {
            return Ok(());
        }
        for pool in app.pools.list() {
            pool.delete_image(&self.fingerprint).await?;
        }
        let mut tx = app.cluster.begin().await?;
        let filter = storage_volumes::Filter {
            project: Some(projects::DEFAULT),
            kind: Some(VolumeType::Image),
            pool: None,
        };
        let volumes = storage_volumes::list(&mut tx, filter).await?;
        let own: Vec<i64> = volumes
            .into_iter()
            .filter(|volume| volume.name == self.fingerprint)
            .map(|volume| volume.id)
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        for id in own {
            storage_volumes::delete(&mut tx, id).await?;
        }
        Ok(tx.commit().await?)
    }

    pub(super) async fn delete_files(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        remove_unused_files(&task.app, &self.fingerprint, Some(&self.project)).await
    }

    pub(super) async fn delete_row(&mut self, task: &Task) -> Result<()> {
        self.isolate(&task.app).await;
        delete_row_of(&task.app, &self.project, &self.fingerprint).await?;
        let event = Lifecycle::new(Action::ImageDeleted, url(&self.project, &self.fingerprint)).by(&task.ctx);
        task.app.events.lifecycle(&self.project, &event);
        Ok(())
    }

    /// Waits until nobody uses the files; at the first step, and at the first after a crash.
    async fn isolate(&mut self, app: &App) {
        if self.alone.is_none() {
            self.still = Some(app.images.still().await);
            self.alone = Some(app.images.write(&self.fingerprint).await);
        }
    }
}

impl Work for Delete {
    const KIND: &'static str = "images.delete";
    const ON_CRASH: OnCrash = OnCrash::Finish;

    fn steps() -> &'static [Step<Self>] {
        steps![Self;
            "pools": Self::empty_pools;
            "files": Self::delete_files;
            "row": Self::delete_row;
        ]
    }
}

/// The files of an image that has arrived are not written to the record: only the process that received them has them.
fn lost() -> Error {
    Error::internal("The uploaded files are gone")
}

/// The profiles of instances made of an image: the given ones, or the default one.
pub(super) fn profiles_or_default(given: Option<Vec<String>>) -> Vec<String> {
    given.unwrap_or_else(|| DEFAULT_PROFILES.map(str::to_owned).to_vec())
}

/// Whether another project than the given one has the image.
async fn is_used_elsewhere(
    tx: &mut lxd_db::cluster::Tx,
    fingerprint: &str,
    except: Option<&str>,
) -> Result<bool> {
    let holders = rows::projects_of(tx, fingerprint).await?;
    Ok(holders.iter().any(|holder| Some(holder.as_str()) != except))
}

/// Removes the files unless another project needs them. The caller is alone with them.
async fn remove_unused_files(app: &App, fingerprint: &str, except: Option<&str>) -> Result<()> {
    let mut tx = app.cluster.read().await?;
    if is_used_elsewhere(&mut tx, fingerprint, except).await? {
        return Ok(());
    }
    drop(tx);
    let files = [app.paths.image(fingerprint), app.paths.image_rootfs(fingerprint)];
    blocking(move || {
        for path in files {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let text = format!("Failed removing {}", path.display());
                    return Err(Error::internal(text).because(error));
                }
                _ => {}
            }
        }
        Ok(())
    })
    .await
}

async fn delete_row_of(app: &App, project: &str, fingerprint: &str) -> Result<()> {
    let mut tx = app.cluster.begin().await?;
    match rows::get(&mut tx, project, fingerprint).await {
        Ok(image) => {
            rows::delete(&mut tx, image.id).await?;
            Ok(tx.commit().await?)
        }
        Err(lxd_db::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The files of an image that the daemon has.
pub(super) fn files(app: &App, fingerprint: &str) -> ImageFiles {
    let (metadata, rootfs) = (app.paths.image(fingerprint), app.paths.image_rootfs(fingerprint));
    if rootfs.exists() {
        ImageFiles::Split { metadata, rootfs }
    } else {
        ImageFiles::Unified(metadata)
    }
}
