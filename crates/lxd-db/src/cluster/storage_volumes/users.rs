//! The disks of instances and profiles that are a custom volume.

use super::super::Tx;
use super::super::entries::json_ids;
use super::super::projects::{Feature, effective_id_sql};
use crate::Result;

/// Where a volume is: its pool and its name.
pub type Place<'a> = (&'a str, &'a str);

/// The instances with a disk that is the volume, by their own devices or by a profile's: their projects and names, sorted.
/// `project` is the one that holds the volume.
///
/// # Errors
/// [`crate::Error::Cluster`] when reading fails.
pub async fn instances(tx: &mut Tx, project: &str, (pool, name): Place<'_>) -> Result<Vec<(String, String)>> {
    let home = effective_id_sql("i.project_id", Feature::StorageVolumes);
    let sql = format!(
        "WITH held AS (SELECT id FROM projects WHERE name = ?1)
         SELECT p.name, i.name FROM instances_devices d
           JOIN instances_devices_config c ON c.instance_device_id = d.id AND c.key = 'pool' AND c.value = ?2
           JOIN instances_devices_config s ON s.instance_device_id = d.id AND s.key = 'source' AND s.value = ?3
           JOIN instances i ON i.id = d.instance_id JOIN projects p ON p.id = i.project_id JOIN held
           WHERE d.type = 2 AND {home} = held.id
         UNION SELECT p.name, i.name FROM profiles_devices d
           JOIN profiles_devices_config c ON c.profile_device_id = d.id AND c.key = 'pool' AND c.value = ?2
           JOIN profiles_devices_config s ON s.profile_device_id = d.id AND s.key = 'source' AND s.value = ?3
           JOIN instances_profiles x ON x.profile_id = d.profile_id
           JOIN instances i ON i.id = x.instance_id JOIN projects p ON p.id = i.project_id JOIN held
           WHERE d.type = 2 AND {home} = held.id
             AND NOT EXISTS (SELECT 1 FROM instances_devices o WHERE o.instance_id = i.id AND o.name = d.name)
         ORDER BY 1, 2",
    );
    let rows = tx
        .query(&sql, &[project.into(), pool.into(), name.into()])
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Lets the disks of instances and profiles that are a volume follow it to another pool or name.
///
/// # Errors
/// [`crate::Error::Cluster`] when writing fails.
pub async fn follow(tx: &mut Tx, project: &str, old: Place<'_>, new: Place<'_>) -> Result<()> {
    for (devices, owner, column) in [
        ("instances_devices", "instances", "instance"),
        ("profiles_devices", "profiles", "profile"),
    ] {
        let home = effective_id_sql("o.project_id", Feature::StorageVolumes);
        let id = format!("{column}_device_id");
        let sql = format!(
            "WITH held AS (SELECT id FROM projects WHERE name = ?1)
             SELECT d.id FROM {devices} d
               JOIN {devices}_config c ON c.{id} = d.id AND c.key = 'pool' AND c.value = ?2
               JOIN {devices}_config s ON s.{id} = d.id AND s.key = 'source' AND s.value = ?3
               JOIN {owner} o ON o.id = d.{column}_id JOIN held
               WHERE d.type = 2 AND {home} = held.id",
        );
        let rows = tx
            .query(&sql, &[project.into(), old.0.into(), old.1.into()])
            .await?;
        let ids: Vec<i64> = rows
            .iter()
            .map(|row| row.get(0))
            .collect::<std::result::Result<_, _>>()?;
        if ids.is_empty() {
            continue;
        }
        let sql = format!(
            "UPDATE {devices}_config SET value = CASE key WHEN 'pool' THEN ?1 ELSE ?2 END
             WHERE key IN ('pool', 'source') AND {id} IN (SELECT value FROM json_each(?3))",
        );
        tx.execute(&sql, &[new.0.into(), new.1.into(), json_ids(&ids)])
            .await?;
    }
    Ok(())
}
