//! Configuration, devices and names of whatever has them: read with their owner's row, written with one statement.
//!
//! Both ways they travel as JSON: as one column of the row, so that one query is enough however many there are of
//! anything; as one parameter, so that each statement has one text and stays prepared.

use std::collections::BTreeMap;

use dqlite::{Row, Value};
use serde::de::DeserializeOwned;

use super::Tx;
use super::codes::{device_code, device_word};
use crate::{Config, Devices, Error, Result};

/// A table of keys and values, one row each.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConfigTable {
    pub(super) table: &'static str,
    /// The column with the owner's id.
    pub(super) owner: &'static str,
}

impl ConfigTable {
    /// SQL for the configuration of the owner whose id is `id` (an SQL expression); [`config`] reads it.
    pub(super) fn column(&self, id: &str) -> String {
        let Self { table, owner } = self;
        format!("(SELECT json_group_object(key, value) FROM {table} WHERE {owner} = {id}) AS config")
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
    /// SQL for the devices of the owner whose id is `id` (an SQL expression); [`devices`] reads it.
    pub(super) fn column(&self, id: &str) -> String {
        let Self {
            table,
            owner,
            config,
            device,
        } = self;
        // A subquery's text is not known to be JSON, hence json().
        format!(
            "(SELECT json_group_object(d.name, json_array(d.type,
               json((SELECT json_group_object(c.key, c.value) FROM {config} c WHERE c.{device} = d.id))))
              FROM {table} d WHERE d.{owner} = {id}) AS devices",
        )
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

/// The configuration in a column that [`ConfigTable::column`] made; a value that is NULL is empty.
pub(super) fn config(row: &Row<'_>, index: usize) -> Result<Config> {
    let keys: BTreeMap<String, Option<String>> = parsed(row, index)?;
    Ok(keys
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}

/// The devices in a column that [`DeviceTable::column`] made.
pub(super) fn devices(row: &Row<'_>, index: usize) -> Result<Devices> {
    let stored: BTreeMap<String, (i64, BTreeMap<String, Option<String>>)> = parsed(row, index)?;
    let mut devices = Devices::new();
    for (name, (code, keys)) in stored {
        let mut device: Config = keys
            .into_iter()
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect();
        if !device.contains_key("type") {
            device.insert("type".to_owned(), device_word(code)?.to_owned());
        }
        devices.insert(name, device);
    }
    Ok(devices)
}

/// A column that holds JSON.
pub(super) fn parsed<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> Result<T> {
    let text: &str = row.get(index)?;
    serde_json::from_str(text).map_err(|_| Error::Stored {
        value: text.to_owned(),
        wanted: "a set in JSON",
    })
}

/// A set of ids as a parameter for `json_each`.
pub(super) fn json_ids(ids: &[i64]) -> Value {
    json(ids)
}

/// Anything as a parameter for `json_each`. Maps of texts and lists of numbers always have a JSON form.
pub(super) fn json<T: serde::Serialize + ?Sized>(value: &T) -> Value {
    Value::Text(serde_json::to_string(value).unwrap_or_default())
}
