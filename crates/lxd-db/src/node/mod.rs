//! The node database: an SQLite file with what only this member needs.
//!
//! All statements run on one thread of their own, so that nothing here blocks the async runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::sql::Outcome;
use crate::{Error, Result};

mod config;
pub mod journal;
mod patches;
mod raft_nodes;
mod schema;
#[cfg(test)]
mod tests;

pub use raft_nodes::RaftNode;
pub use schema::VERSION;

/// Statements are few and small; the thread needs no more.
const STACK: usize = 512 * 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The node database. Cheap to clone; the file is closed when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Node {
    jobs: mpsc::UnboundedSender<Job>,
    path: Arc<PathBuf>,
}

impl Node {
    /// Opens `local.db` in `directory` (`LXD_DIR/database`), and makes it where there is none.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::Older`] for a version that is not ours, [`Error::Patch`] when the administrator's
    /// `patch.local.sql` fails, [`Error::Node`] when SQLite refuses.
    pub async fn open(directory: &Path) -> Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (opened, result) = oneshot::channel();
        let directory = directory.to_owned();
        let path = Arc::new(directory.join("local.db"));
        let thread = std::thread::Builder::new()
            .name("local.db".to_owned())
            .stack_size(STACK);
        let spawned = thread.spawn(move || match schema::open(&directory) {
            Ok(connection) => {
                let _ = opened.send(Ok(()));
                work(connection, queue);
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        });
        spawned.map_err(|source| Error::File {
            action: "start a thread for",
            path: path.to_path_buf(),
            source,
        })?;
        result.await.map_err(|_| Error::Closed)??;
        Ok(Self { jobs, path })
    }

    /// Runs what a user typed: any number of statements separated by `;`.
    ///
    /// # Errors
    /// [`Error::Statement`] with SQLite's words for the first that fails; those before it have had their effect.
    pub async fn run_sql(&self, text: &str) -> Result<Vec<Outcome>> {
        let statements = crate::sql::split(text);
        let run = move |connection: &mut Connection| {
            let outcomes = statements
                .iter()
                .map(|statement| crate::sql::run_on_node(connection, statement));
            Ok(outcomes.collect::<rusqlite::Result<Vec<_>>>())
        };
        self.call("run a statement", run)
            .await?
            .map_err(|error| Error::Statement(words(&error)))
    }

    /// The whole database as SQL text that `sqlite3` loads; only its schema without `rows`.
    ///
    /// # Errors
    /// [`Error::Node`] when reading fails.
    pub async fn dump(&self, rows: bool) -> Result<String> {
        self.call("dump", move |connection| crate::sql::dump_node(connection, rows))
            .await
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `job` on the database's thread; it does so even when the caller goes away meanwhile.
    async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = answer.send(job(connection));
        });
        self.jobs.send(job).map_err(|_| Error::Closed)?;
        let result = result.await.map_err(|_| Error::Closed)?;
        result.map_err(|source| Error::Node {
            path: self.path.to_path_buf(),
            action,
            source,
        })
    }
}

/// Runs jobs until every sender is gone.
fn work(mut connection: Connection, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut connection);
    }
}

/// SQLite's own words for a refusal.
fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}
