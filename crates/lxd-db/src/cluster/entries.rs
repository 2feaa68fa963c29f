//! Configuration and devices of whatever has them: read for a set of owners with one query, written with one statement.
//!
//! Sets travel as JSON in one parameter, so that each statement has one text and stays prepared.

use std::collections::HashMap;

use dqlite::Value;

use super::Tx;
use super::codes::{device_code, device_word};
use crate::{Config, Devices, Result};

/// A table of keys and values, one row each.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigTable {
    pub(super) table: &'static str,
    /// The column with the owner's id.
    pub(super) owner: &'static str,
}

impl ConfigTable {
    /// The configuration of each owner that has any.
    pub(super) async fn of(&self, tx: &mut Tx, ids: &[i64]) -> Result<HashMap<i64, Config>> {
        let Self { table, owner } = self;
        let mut found: HashMap<i64, Config> = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(found);
        }
        let sql = format!(
            "SELECT {owner}, key, value FROM {table} WHERE {owner} IN (SELECT value FROM json_each(?))"
        );
        for row in tx.query(&sql, &[json_ids(ids)]).await?.iter() {
            let value: Option<String> = row.get(2)?;
            found
                .entry(row.get(0)?)
                .or_default()
                .insert(row.get(1)?, value.unwrap_or_default());
        }
        Ok(found)
    }

    /// Adds keys; those with an empty value are left out, as a key that is set to nothing is not set.
    pub(super) async fn insert(&self, tx: &mut Tx, id: i64, config: &Config) -> Result<()> {
        let Self { table, owner } = self;
        if config.values().all(String::is_empty) {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {table} ({owner}, key, value) SELECT ?1, key, value FROM json_each(?2) WHERE value != ''",
        );
        tx.execute(&sql, &[id.into(), json(config)]).await?;
        Ok(())
    }

    /// Makes `config` the whole configuration.
    pub(super) async fn replace(&self, tx: &mut Tx, id: i64, config: &Config) -> Result<()> {
        let Self { table, owner } = self;
        tx.execute(&format!("DELETE FROM {table} WHERE {owner} = ?"), &[id.into()])
            .await?;
        self.insert(tx, id, config).await
    }

    /// Sets some keys and removes those whose new value is empty; leaves the others as they are.
    pub(super) async fn change(&self, tx: &mut Tx, id: i64, changes: &Config) -> Result<()> {
        let Self { table, owner } = self;
        if changes.is_empty() {
            return Ok(());
        }
        let sql =
            format!("DELETE FROM {table} WHERE {owner} = ?1 AND key IN (SELECT key FROM json_each(?2))");
        tx.execute(&sql, &[id.into(), json(changes)]).await?;
        self.insert(tx, id, changes).await
    }
}

/// A table of devices and the table of their keys and values.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceTable {
    pub(super) table: &'static str,
    /// The column with the owner's id.
    pub(super) owner: &'static str,
    /// The table of keys and values.
    pub(super) config: &'static str,
    /// Its column with the device's id.
    pub(super) device: &'static str,
}

impl DeviceTable {
    /// The devices of each owner that has any.
    pub(super) async fn of(&self, tx: &mut Tx, ids: &[i64]) -> Result<HashMap<i64, Devices>> {
        let Self {
            table,
            owner,
            config,
            device,
        } = self;
        let mut found: HashMap<i64, Devices> = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(found);
        }
        let sql = format!(
            "SELECT d.{owner}, d.name, d.type, c.key, c.value FROM {table} d LEFT JOIN {config} c ON c.{device} = d.id
             WHERE d.{owner} IN (SELECT value FROM json_each(?))",
        );
        for row in tx.query(&sql, &[json_ids(ids)]).await?.iter() {
            let devices = found.entry(row.get(0)?).or_default();
            let keys = devices.entry(row.get(1)?).or_default();
            if keys.is_empty() {
                keys.insert("type".to_owned(), device_word(row.get(2)?)?.to_owned());
            }
            if let Some(key) = row.get::<Option<String>>(3)? {
                keys.insert(key, row.get::<Option<String>>(4)?.unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// Adds devices.
    pub(super) async fn insert(&self, tx: &mut Tx, id: i64, devices: &Devices) -> Result<()> {
        let Self {
            table,
            owner,
            config,
            device,
        } = self;
        if devices.is_empty() {
            return Ok(());
        }
        let mut codes = serde_json::Map::new();
        for (name, keys) in devices {
            let kind = keys.get("type").map_or("", String::as_str);
            codes.insert(name.clone(), device_code(kind)?.into());
        }
        let sql =
            format!("INSERT INTO {table} ({owner}, name, type) SELECT ?1, key, value FROM json_each(?2)");
        tx.execute(&sql, &[id.into(), json(&codes)]).await?;
        let sql = format!(
            "INSERT INTO {config} ({device}, key, value)
             SELECT d.id, c.key, c.value FROM json_each(?2) j
             JOIN {table} d ON d.{owner} = ?1 AND d.name = j.key JOIN json_each(j.value) c WHERE c.value != ''",
        );
        tx.execute(&sql, &[id.into(), json(devices)]).await?;
        Ok(())
    }

    /// Makes `devices` all the devices.
    pub(super) async fn replace(&self, tx: &mut Tx, id: i64, devices: &Devices) -> Result<()> {
        let Self { table, owner, .. } = self;
        tx.execute(&format!("DELETE FROM {table} WHERE {owner} = ?"), &[id.into()])
            .await?;
        self.insert(tx, id, devices).await
    }
}

/// A set of ids as a parameter for `json_each`.
pub(super) fn json_ids(ids: &[i64]) -> Value {
    json(ids)
}

/// Anything as a parameter for `json_each`. Maps of texts and lists of numbers always have a JSON form.
pub(super) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Value {
    Value::Text(serde_json::to_string(value).unwrap_or_default())
}
