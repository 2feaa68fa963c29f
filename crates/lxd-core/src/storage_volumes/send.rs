//! Custom volumes that another server gets, with their snapshots.

use std::sync::Arc;

use lxd_api::storage_volumes::{StorageVolumePost, StorageVolumeSnapshot};
use lxd_db::cluster::ContentType;
use lxd_db::cluster::storage_volumes::StorageVolume as Row;
use lxd_model::config::is_true;
use lxd_storage::{BLOCK_FILE, Pool, Rsync, RsyncFeatures, Volume};
use serde_json::json;

use super::home::{self, Home};
use super::snapshots::Saved;
use super::wire;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::migration::{
    Answer, Data, Described, Ends, Entry, Form, Header, Info, Offer, Snapshot, cancelled_by, unless_told,
    with_secrets,
};
use crate::operations::{Kind, Operation, Options, Progress};

/// What stands before the reasons of the other side.
pub(super) const DOING: &str = "Error transferring storage volume: ";

/// The options of an operation that moves a volume from or to another server.
pub(super) fn options(kind: Kind, home: &Home, is_listening: bool) -> Options {
    let parts = ["storage_volumes", &home.pool, "volumes", "custom", &home.name];
    let url = crate::urls::plain(&parts);
    if !is_listening {
        return Options::task(kind).resource_url("storage_volumes", url);
    }
    with_secrets(kind).resource_url("storage_volumes", url)
}

/// Offers a volume to another server, as an operation: whoever has its secrets gets the volume, or the server that the request
/// names.
///
/// # Errors
/// The daemon is stopping.
pub(super) fn send(app: &Arc<App>, ctx: &Ctx, row: Row, post: StorageVolumePost) -> Result<Operation> {
    let home = Home::of(&row);
    let target = post.target.filter(|target| !target.operation.is_empty());
    let options = options(Kind::VolumeMigrate, &home, target.is_none());
    let app = Arc::clone(app);
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let sending = async {
            let ends = match &target {
                None => Ends::accept(&operation).await,
                Some(target) => {
                    let server = (target.operation.as_str(), target.certificate.as_str());
                    Ends::connect(&app, server, &target.secrets).await
                }
            };
            run(&app, &operation, &row, post.volume_only, &mut ends?).await
        };
        cancelled_by(operation.cancel_token(), sending).await
    })
}

/// Sends a volume to whoever is at the other end.
///
/// # Errors
/// The other side fails, or goes; a file can't be read.
pub(super) async fn run(
    app: &Arc<App>,
    operation: &Operation,
    row: &Row,
    volume_only: bool,
    ends: &mut Ends,
) -> Result<()> {
    let home = Home::of(row);
    let _guard = home::lock(app, &[&home]).await;
    let sending = async {
        let mut tx = app.cluster.read().await?;
        // It may have changed while nobody had connected yet.
        let row = home.row(&mut tx).await.filter(|now| now.id == row.id);
        let row = row.ok_or_else(|| Error::not_found("Storage pool volume not found"))?;
        let snapshots = match volume_only {
            true => Vec::new(),
            false => Saved::all(&mut tx, row.id).await?,
        };
        drop(tx);
        let sending = Sending {
            pool: home.pool(app)?,
            progress: operation.progress("fs", &row.name, None),
            home: home.clone(),
            row,
            snapshots,
        };
        sending.run(ends).await
    };
    let sent = sending.await;
    if sent.is_err() {
        ends.conclude(&sent).await;
    }
    sent
}

/// A volume on its way.
struct Sending {
    pool: Pool,
    home: Home,
    row: Row,
    snapshots: Vec<Saved>,
    progress: Progress,
}

impl Sending {
    async fn run(&self, ends: &mut Ends) -> Result<()> {
        let offered = self.header();
        ends.control.send(&offered).await?;
        let wanted: Header = ends.control.receive_soon().await?;
        if wanted.form != offered.form {
            return Err(Error::refused(
                "The other server wants another form of the volume",
            ));
        }
        let offer = offered.rsync.unwrap_or_default();
        let features = offer.both(wanted.rsync.unwrap_or_default()).features();
        if wanted.index_version.is_some_and(|version| version > 0) {
            self.describe(&mut ends.data).await?;
        }
        let Ends { control, data } = ends;
        let giving = self.give(data, &wanted.snapshot_names, features);
        match unless_told((control, DOING), giving).await? {
            ((), true) => Ok(()),
            ((), false) => control.outcome(DOING).await,
        }
    }

    fn is_block(&self) -> bool {
        self.row.content_type == ContentType::Block
    }

    fn header(&self) -> Header {
        let config = self.pool.config();
        let compress = config.get("rsync.compression").is_none_or(|value| is_true(value));
        let form = if self.is_block() {
            Form::BlockAndRsync
        } else {
            Form::Rsync
        };
        Header {
            form,
            snapshot_names: self.snapshots.iter().map(|one| one.name.clone()).collect(),
            snapshots: self.snapshots.iter().map(to_message).collect(),
            rsync: Some(Offer::all(compress)),
            index_version: Some(1),
            ..Header::default()
        }
    }

    async fn describe(&self, data: &mut Data) -> Result<()> {
        let snapshot = |one: &Saved| StorageVolumeSnapshot {
            config: one.config.clone().into_iter().collect(),
            description: one.description.clone(),
            expires_at: Some(one.expires_at),
            name: one.name.clone(),
            content_type: self.row.content_type.as_str().to_owned(),
            ..StorageVolumeSnapshot::default()
        };
        let info = Info {
            config: Described {
                volume: Some(wire(self.row.clone(), Vec::new())),
                volume_snapshots: Some(self.snapshots.iter().map(snapshot).collect()),
                ..Described::default()
            },
        };
        data.send_json(&json!(info)).await?;
        let answer: Answer = data.receive_json().await?;
        match answer.status_code {
            200 => Ok(()),
            _ => Err(Error::refused(answer.error)),
        }
    }

    /// Sends the wanted snapshots, then the volume itself.
    async fn give(&self, data: &mut Data, wanted: &[String], features: RsyncFeatures) -> Result<()> {
        let is_wanted = |one: &&Saved| wanted.contains(&one.name);
        for snapshot in self.snapshots.iter().filter(is_wanted) {
            self.give_one(data, &self.home.snapshot(&snapshot.name), features)
                .await?;
        }
        self.give_one(data, &self.home.volume(), features).await
    }

    async fn give_one(&self, data: &mut Data, volume: &Volume, features: RsyncFeatures) -> Result<()> {
        let tell = |bytes| self.progress.add(bytes);
        if self.is_block() {
            let path = self.pool.volume_path(volume).join(BLOCK_FILE);
            let opened = crate::app::blocking(move || {
                std::fs::File::open(&path)
                    .map_err(|error| Error::internal("Failed to open a block volume").because(error))
            });
            return data.send_file(opened.await?, tell).await;
        }
        let view = self.pool.view(volume).await?;
        let limit = self.pool.config().get("rsync.bwlimit").cloned();
        let rsync = Rsync::send(view, features, &limit.unwrap_or_default())?;
        data.join(rsync, tell).await
    }
}

/// A snapshot as the header has it.
pub(super) fn to_message(snapshot: &Saved) -> Snapshot {
    let expires_at = match snapshot.expires_at.is_never() {
        true => 0,
        false => snapshot.expires_at.timestamp().as_second(),
    };
    Snapshot {
        name: snapshot.name.clone(),
        config: Entry::all(&snapshot.config),
        created_at: Some(0),
        used_at: Some(0),
        expires_at: Some(expires_at),
        ..Snapshot::default()
    }
}
