//! Connections to the node: one that writes, a few that read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dqlite::wire::FileContent;
use dqlite::{Connection, Node};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::DATABASE;
use crate::{Error, Result};

/// Readers at work at once; the engine has one thread, so more would only cost memory.
const READERS: usize = 4;

/// How long a transaction waits for the lock of the engine itself, beyond our own queue.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long closing waits for readers.
const READERS_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's place: empty while it is replaced.
pub(super) type Writer = OwnedMutexGuard<Option<Connection>>;

#[derive(Debug)]
pub(super) struct Pool {
    /// Gone once the database is closed.
    node: Mutex<Option<Arc<Node>>>,
    writer: Arc<AsyncMutex<Option<Connection>>>,
    readers: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(node: Node, writer: Connection) -> Arc<Self> {
        Arc::new(Self {
            node: Mutex::new(Some(Arc::new(node))),
            writer: Arc::new(AsyncMutex::new(Some(writer))),
            readers: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::new(Vec::new()),
        })
    }

    async fn connect(&self) -> Result<Connection> {
        let node = self.node.lock().clone().ok_or(Error::Closed)?;
        Ok(node.connect(DATABASE).await?)
    }

    /// The writer, with a transaction begun on it.
    pub(super) async fn begin(&self) -> Result<(Writer, Connection)> {
        let mut place = Arc::clone(&self.writer).lock_owned().await;
        let deadline = Instant::now() + BUSY_TIMEOUT;
        loop {
            let mut connection = match place.take() {
                Some(connection) if connection.is_usable() => connection,
                _ => self.connect().await?,
            };
            match connection.execute_batch("BEGIN IMMEDIATE").await {
                Ok(_) => return Ok((place, connection)),
                Err(error) if Instant::now() >= deadline => {
                    tracing::warn!(%error, "the cluster database stays locked");
                    return Err(Error::Busy {
                        seconds: BUSY_TIMEOUT.as_secs(),
                    });
                }
                Err(error) if error.is_busy() => {
                    *place = Some(connection);
                    tokio::time::sleep(jitter()).await;
                }
                // A connection that died idle is replaced; one that was just made would not die.
                Err(error) if error.is_fatal() => {
                    tracing::debug!(%error, "replacing the connection that writes");
                    drop(connection);
                    tokio::time::sleep(jitter()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A reader; its transaction begins with its first query.
    pub(super) async fn reader(&self) -> Result<(OwnedSemaphorePermit, Connection)> {
        let permit = Arc::clone(&self.readers)
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) if connection.is_usable() => connection,
            _ => self.connect().await?,
        };
        connection.queue("BEGIN")?;
        Ok((permit, connection))
    }

    /// Takes a reader back whose transaction was ended.
    pub(super) fn give_back(&self, connection: Connection) {
        if self.node.lock().is_some() {
            self.idle.lock().push(connection);
        }
    }

    pub(super) async fn dump(&self, database: &str) -> Result<Vec<FileContent>> {
        // Within the writer's place, so that no transaction is half way.
        let mut place = self.writer.lock().await;
        let mut connection = match place.take() {
            Some(connection) if connection.is_usable() => connection,
            _ => self.connect().await?,
        };
        let files = connection.dump(database).await?;
        *place = Some(connection);
        Ok(files)
    }

    pub(super) async fn close(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let Some(node) = self.node.lock().take() else {
            return Ok(());
        };
        // Readers under way end first: the library does not survive a node that stops in the middle of their rows.
        let all = u32::try_from(READERS).unwrap_or(u32::MAX);
        if tokio::time::timeout(READERS_TIMEOUT, self.readers.acquire_many(all))
            .await
            .is_err()
        {
            tracing::warn!("stopping the cluster database while it is read");
        }
        self.readers.close();
        *writer = None;
        self.idle.lock().clear();
        match Arc::try_unwrap(node) {
            Ok(node) => Ok(node.stop().await?),
            // Somebody is connecting this very moment; the last one to let go stops the node.
            Err(_shared) => Ok(()),
        }
    }
}

/// Between 0.2 and 2.2 ms, so that two who wait do not meet again.
fn jitter() -> Duration {
    use std::hash::BuildHasher;
    let random = std::hash::RandomState::new().hash_one(0_u8);
    Duration::from_micros(200 + random % 2000)
}
