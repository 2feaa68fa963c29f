//! All pools of the daemon, by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lxd_model::ErrorKind;
use lxd_model::config::Config;
use parking_lot::RwLock;
use tokio::task::spawn_blocking;

use super::Pool;
use crate::config;
use crate::drivers::{self, Driver, Place};
use crate::error::StorageError;

/// The pools that are mounted.
#[derive(Debug)]
pub struct Pools {
    lxd_dir: PathBuf,
    pools: RwLock<BTreeMap<String, Pool>>,
}

impl Pools {
    /// None yet.
    pub fn new(lxd_dir: PathBuf) -> Self {
        Self {
            lxd_dir,
            pools: RwLock::default(),
        }
    }

    /// Checks what a user gives for a new pool, without touching anything.
    pub fn validate(driver: &str, config: &Config) -> Result<(), StorageError> {
        Ok(config::validate_pool(drivers::load(driver)?.info(), config)?)
    }

    /// Checks that a pool can be made: that nothing of anybody's is where it would be. Changes nothing.
    ///
    /// # Errors
    /// A bad key or value; the source can't be used; what the driver needs is missing.
    pub async fn check(&self, name: &str, driver: &str, config: Config) -> Result<(), StorageError> {
        Self::validate(driver, &config)?;
        let (place, driver) = (self.place(name), drivers::load(driver)?);
        blocking(move || driver.check_pool(&place, &config)).await
    }

    /// Makes a pool and keeps it; returns it with the configuration to be stored ([`Pool::config`]).
    pub async fn create(&self, name: &str, driver: &str, config: Config) -> Result<Pool, StorageError> {
        Self::validate(driver, &config)?;
        self.create_with(name, drivers::load(driver)?, config).await
    }

    /// The same with a driver of the caller's own, such as [`drivers::mock::Mock`].
    pub async fn create_with(
        &self,
        name: &str,
        driver: Arc<dyn Driver>,
        config: Config,
    ) -> Result<Pool, StorageError> {
        let place = self.place(name);
        if self.pools.read().contains_key(name) {
            return Err(StorageError::Refused {
                message: "The storage pool already exists".into(),
                kind: ErrorKind::Conflict,
            });
        }
        let (task_place, task_driver) = (place.clone(), Arc::clone(&driver));
        let config = blocking(move || {
            drivers::make_parent(&task_place.lxd_dir.join("storage-pools"))?;
            task_driver.create_pool(&task_place, &config)
        })
        .await?;
        Ok(self.keep(Pool::new(place, driver, config)))
    }

    /// Mounts a pool that exists, at the start of the daemon, and keeps it.
    pub async fn open(&self, name: &str, driver: &str, config: Config) -> Result<Pool, StorageError> {
        self.open_with(name, drivers::load(driver)?, config).await
    }

    /// The same with a driver of the caller's own.
    pub async fn open_with(
        &self,
        name: &str,
        driver: Arc<dyn Driver>,
        config: Config,
    ) -> Result<Pool, StorageError> {
        let place = self.place(name);
        let (task_place, task_driver, task_config) = (place.clone(), Arc::clone(&driver), config.clone());
        blocking(move || {
            drivers::make_parent(&task_place.lxd_dir.join("storage-pools"))?;
            task_driver.mount_pool(&task_place, &task_config)
        })
        .await?;
        Ok(self.keep(Pool::new(place, driver, config)))
    }

    /// The pool of this name.
    pub fn get(&self, name: &str) -> Result<Pool, StorageError> {
        self.pools
            .read()
            .get(name)
            .cloned()
            .ok_or_else(|| StorageError::Refused {
                message: "Storage pool not found".into(),
                kind: ErrorKind::NotFound,
            })
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Pool> {
        self.pools.read().values().cloned().collect()
    }

    /// Removes a pool with all in it. Not being there is fine. (That nobody uses it is for the caller to know.)
    pub async fn delete(&self, name: &str) -> Result<(), StorageError> {
        let Ok(pool) = self.get(name) else { return Ok(()) };
        pool.settle().await?;
        let inner = Arc::clone(&pool.inner);
        blocking(move || {
            inner
                .driver
                .delete_pool(&inner.place, &inner.config.read().clone())
        })
        .await?;
        self.pools.write().remove(name);
        Ok(())
    }

    /// Removes what is there of a pool that could not be opened. Nothing being there is fine.
    ///
    /// # Errors
    /// There is no such driver; the disk.
    pub async fn delete_remains(&self, name: &str, driver: &str, config: Config) -> Result<(), StorageError> {
        let (place, driver) = (self.place(name), drivers::load(driver)?);
        blocking(move || driver.delete_pool(&place, &config)).await
    }

    /// Unmounts a pool and forgets it; its data stays.
    pub async fn close(&self, name: &str) -> Result<(), StorageError> {
        let Ok(pool) = self.get(name) else { return Ok(()) };
        pool.settle().await?;
        let inner = Arc::clone(&pool.inner);
        blocking(move || {
            inner
                .driver
                .unmount_pool(&inner.place, &inner.config.read().clone())
        })
        .await?;
        self.pools.write().remove(name);
        Ok(())
    }

    /// Waits, at the end of the daemon, for removals behind the answers. Mounts stay: running instances need them.
    pub async fn settle(&self) {
        for pool in self.list() {
            if let Err(error) = pool.settle().await {
                tracing::warn!(pool = pool.name(), %error, "Waiting for removals");
            }
        }
    }

    fn place(&self, name: &str) -> Place {
        Place {
            lxd_dir: self.lxd_dir.clone(),
            name: name.to_owned(),
        }
    }

    fn keep(&self, pool: Pool) -> Pool {
        self.pools.write().insert(pool.name().to_owned(), pool.clone());
        pool
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(StorageError::Panicked(e.to_string())))
}
