//! The cluster database: what all members share, replicated by dqlite; on a host that is alone too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dqlite::{Node, NodeConfig};

use crate::sql::Outcome;
use crate::{Error, Result};

pub mod certificates;
mod codes;
pub mod config;
mod entries;
mod files;
pub mod images;
pub mod instances;
pub mod networks;
pub mod nodes;
pub mod operations;
mod pool;
pub mod profiles;
pub mod projects;
mod schema;
pub mod storage_pools;
pub mod storage_volumes;
mod tx;
pub mod used_by;
pub mod warnings;

#[cfg(test)]
mod tests;

pub use codes::{CertificateType, ContentType, ImageProtocol, InstanceType, NetworkType, State, VolumeType};
pub use schema::VERSION;
pub use tx::Tx;

/// The name of the database within dqlite, and of the file that dumps of it are written to.
const DATABASE: &str = "db.bin";

/// What the cluster database is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// `LXD_DIR/database`; the database is in its folder `global`.
    pub directory: PathBuf,
    /// How many API extensions this daemon has; new databases record it in the row of the first member.
    pub api_extensions: i64,
    /// The address in this member's row: `0.0.0.0` outside a cluster.
    pub address: String,
}

impl Options {
    /// Options for a member that is alone.
    pub fn standalone(directory: impl Into<PathBuf>, api_extensions: i64) -> Self {
        Self {
            directory: directory.into(),
            api_extensions,
            address: "0.0.0.0".to_owned(),
        }
    }
}

/// The cluster database. Cheap to clone; all clones are one database.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Arc<pool::Pool>,
    directory: PathBuf,
    node_id: i64,
}

impl Cluster {
    /// Opens the database of this member, and makes it where there is none.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::Older`] for a version that is not ours, [`Error::Patch`] when the administrator's
    /// `patch.global.sql` fails, [`Error::Cluster`] when the node does not start.
    pub async fn open(options: Options) -> Result<Self> {
        let directory = options.directory.clone();
        let patch = tokio::task::spawn_blocking(move || files::prepare(&directory))
            .await
            .map_err(joined)??;
        let global = options.directory.join("global");
        let node = Node::start(NodeConfig::standalone(&global)).await?;
        let mut connection = node.connect(DATABASE).await?;
        schema::prepare(&mut connection, &options).await?;
        if let Some(patch) = patch {
            patch.apply(&mut connection).await?;
        }
        let node_id = schema::node_id(&mut connection, &options.address).await?;
        let pool = pool::Pool::new(node, connection);
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                directory: global,
                node_id,
            }),
        })
    }

    /// Begins a transaction that may write; waits for the one before it to end.
    ///
    /// # Errors
    /// [`Error::Busy`] after 30 seconds, [`Error::Cluster`] when the node is gone.
    pub async fn begin(&self) -> Result<Tx> {
        Tx::write(&self.inner.pool).await
    }

    /// Begins a transaction that sees the database as it is at its first query, and never waits for writers.
    ///
    /// # Errors
    /// [`Error::Cluster`] when the node is gone.
    pub async fn read(&self) -> Result<Tx> {
        Tx::read(&self.inner.pool).await
    }

    /// The id of this member's row in `nodes`.
    pub fn node_id(&self) -> i64 {
        self.inner.node_id
    }

    /// Runs what a user typed: any number of statements separated by `;`, each in a transaction of its own.
    ///
    /// # Errors
    /// [`Error::Statement`] with the engine's words for the first that fails; those before it have had their effect.
    pub async fn run_sql(&self, text: &str) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for statement in crate::sql::split(text) {
            let mut tx = self.begin().await?;
            let outcome = tx.run(&statement).await?;
            tx.commit().await?;
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// The whole database as SQL text that `sqlite3` loads; only its schema without `rows`.
    ///
    /// # Errors
    /// [`Error::Cluster`] when reading fails.
    pub async fn dump(&self, rows: bool) -> Result<String> {
        let mut tx = self.read().await?;
        crate::sql::dump_cluster(&mut tx, rows).await
    }

    /// Writes the database as an SQLite file to `global/db.bin`, with its write-ahead log beside it.
    ///
    /// # Errors
    /// [`Error::Cluster`] when the node refuses, [`Error::File`] when the disk does.
    pub async fn sync(&self) -> Result<()> {
        let files = self.inner.pool.dump(DATABASE).await?;
        let directory = self.inner.directory.clone();
        tokio::task::spawn_blocking(move || files::write_dump(&directory, &files))
            .await
            .map_err(joined)?
    }

    /// Waits for the transaction under way, writes `global/db.bin`, and stops the node.
    ///
    /// Transactions that are begun afterwards fail.
    ///
    /// # Errors
    /// Those of [`Self::sync`] and of stopping; the node is stopped all the same.
    pub async fn close(&self) -> Result<()> {
        let synced = self.sync().await;
        let stopped = self.inner.pool.close().await;
        synced.and(stopped)
    }

    /// The folder with the node's files.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }
}

/// A task for blocking calls that died took a panic with it.
fn joined(error: tokio::task::JoinError) -> Error {
    Error::Cluster(dqlite::Error::Task(error))
}
