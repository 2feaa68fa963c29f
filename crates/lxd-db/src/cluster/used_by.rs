//! What uses a project, a profile, a network, a pool or a volume: one query each.

use super::Tx;
use super::codes::VolumeType;
use super::projects::{Feature, effective_id_sql};
use crate::{Error, Result};

/// Something that uses another; each has a URL in the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// An instance.
    Instance {
        /// Its project.
        project: String,
        /// Its name.
        name: String,
    },
    /// A snapshot of an instance.
    InstanceSnapshot {
        /// The instance's project.
        project: String,
        /// The instance's name.
        instance: String,
        /// The snapshot's name.
        name: String,
    },
    /// A profile.
    Profile {
        /// The project that holds it.
        project: String,
        /// Its name.
        name: String,
    },
    /// An image.
    Image {
        /// The project that holds it.
        project: String,
        /// Its fingerprint.
        fingerprint: String,
    },
    /// A network.
    Network {
        /// The project that holds it.
        project: String,
        /// Its name.
        name: String,
    },
    /// A custom storage volume.
    StorageVolume {
        /// The project that holds it.
        project: String,
        /// Its pool.
        pool: String,
        /// Its name.
        name: String,
    },
    /// A snapshot of a custom storage volume.
    StorageVolumeSnapshot {
        /// The project that holds it.
        project: String,
        /// Its pool.
        pool: String,
        /// The volume's name.
        volume: String,
        /// The snapshot's name.
        name: String,
    },
}

/// The instances that have a profile, sorted.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn profile(tx: &mut Tx, profile_id: i64) -> Result<Vec<User>> {
    let sql = "SELECT 'instance', p.name, i.name, '', '' FROM instances_profiles x
         JOIN instances i ON i.id = x.instance_id JOIN projects p ON p.id = i.project_id
         WHERE x.profile_id = ?1 ORDER BY p.name, i.name";
    users(tx, sql, &[profile_id.into()]).await
}

/// The instances (also by a profile of theirs) and profiles with a network card on a network (by `network` or by `parent`), and the networks that
/// have it as their uplink or parent, sorted. `project` is the one that holds the network.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn network(tx: &mut Tx, project: &str, name: &str) -> Result<Vec<User>> {
    let of_instance = effective_id_sql("i.project_id", Feature::Networks);
    let of_profile = effective_id_sql("f.project_id", Feature::Networks);
    // A parent is a card of the host, whichever project asks for it; its network is in the default project.
    let sql = format!(
        "WITH held AS (SELECT id, name FROM projects WHERE name = ?1)
         SELECT DISTINCT 'instance', p.name, i.name, '', '' FROM instances_devices_config c
           JOIN instances_devices d ON d.id = c.instance_device_id AND d.type = 1
           JOIN instances i ON i.id = d.instance_id JOIN projects p ON p.id = i.project_id JOIN held
           WHERE c.value = ?2 AND ((c.key = 'network' AND {of_instance} = held.id)
             OR (c.key = 'parent' AND held.name = 'default'))
         UNION SELECT DISTINCT 'instance', p.name, i.name, '', '' FROM profiles_devices_config c
           JOIN profiles_devices d ON d.id = c.profile_device_id AND d.type = 1
           JOIN instances_profiles x ON x.profile_id = d.profile_id
           JOIN instances i ON i.id = x.instance_id JOIN projects p ON p.id = i.project_id JOIN held
           WHERE c.value = ?2 AND ((c.key = 'network' AND {of_instance} = held.id)
             OR (c.key = 'parent' AND held.name = 'default'))
             AND NOT EXISTS (SELECT 1 FROM instances_devices o WHERE o.instance_id = i.id AND o.name = d.name)
         UNION SELECT DISTINCT 'profile', p.name, f.name, '', '' FROM profiles_devices_config c
           JOIN profiles_devices d ON d.id = c.profile_device_id AND d.type = 1
           JOIN profiles f ON f.id = d.profile_id JOIN projects p ON p.id = f.project_id JOIN held
           WHERE c.value = ?2 AND ((c.key = 'network' AND {of_profile} = held.id)
             OR (c.key = 'parent' AND held.name = 'default'))
         UNION SELECT 'network', p.name, w.name, '', '' FROM networks_config c
           JOIN networks w ON w.id = c.network_id JOIN projects p ON p.id = w.project_id JOIN held
           WHERE c.value = ?2 AND c.key IN ('network', 'parent') AND held.name = 'default'
         ORDER BY 1, 2, 3",
    );
    users(tx, &sql, &[project.into(), name.into()]).await
}

/// What is in a pool, and the profiles with a disk of it, sorted.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn storage_pool(tx: &mut Tx, name: &str) -> Result<Vec<User>> {
    let (custom, image) = (VolumeType::Custom.code(), VolumeType::Image.code());
    let sql = format!(
        "WITH held AS (
           SELECT v.id, v.name, v.type, p.name AS project FROM storage_volumes v
           JOIN storage_pools s ON s.id = v.storage_pool_id JOIN projects p ON p.id = v.project_id WHERE s.name = ?1)
         SELECT CASE type WHEN {custom} THEN 'volume' WHEN {image} THEN 'image' ELSE 'instance' END,
           project, name, ?1, '' FROM held
         UNION SELECT CASE held.type WHEN {custom} THEN 'volume-snapshot' ELSE 'instance-snapshot' END,
           held.project, held.name, ?1, x.name FROM held
           JOIN storage_volumes_snapshots x ON x.storage_volume_id = held.id WHERE held.type != {image}
         UNION SELECT 'profile', p.name, f.name, '', '' FROM profiles_devices_config c
           JOIN profiles_devices d ON d.id = c.profile_device_id AND d.type = 2
           JOIN profiles f ON f.id = d.profile_id JOIN projects p ON p.id = f.project_id
           WHERE c.key = 'pool' AND c.value = ?1
         ORDER BY 1, 2, 3, 5",
    );
    users(tx, &sql, &[name.into()]).await
}

/// The instances and profiles with a disk that is a custom volume, sorted. `project` is the one that holds the volume.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn storage_volume(tx: &mut Tx, project: &str, pool: &str, name: &str) -> Result<Vec<User>> {
    let of_instance = effective_id_sql("i.project_id", Feature::StorageVolumes);
    let of_profile = effective_id_sql("f.project_id", Feature::StorageVolumes);
    let sql = format!(
        "WITH held AS (SELECT id FROM projects WHERE name = ?1)
         SELECT DISTINCT 'instance', p.name, i.name, '', '' FROM instances_devices_config c
           JOIN instances_devices_config s ON s.instance_device_id = c.instance_device_id
           JOIN instances_devices d ON d.id = c.instance_device_id AND d.type = 2
           JOIN instances i ON i.id = d.instance_id JOIN projects p ON p.id = i.project_id JOIN held
           WHERE c.key = 'pool' AND c.value = ?2 AND s.key = 'source' AND s.value = ?3 AND {of_instance} = held.id
         UNION SELECT DISTINCT 'profile', p.name, f.name, '', '' FROM profiles_devices_config c
           JOIN profiles_devices_config s ON s.profile_device_id = c.profile_device_id
           JOIN profiles_devices d ON d.id = c.profile_device_id AND d.type = 2
           JOIN profiles f ON f.id = d.profile_id JOIN projects p ON p.id = f.project_id JOIN held
           WHERE c.key = 'pool' AND c.value = ?2 AND s.key = 'source' AND s.value = ?3 AND {of_profile} = held.id
         ORDER BY 1, 2, 3",
    );
    users(tx, &sql, &[project.into(), pool.into(), name.into()]).await
}

/// What is in a project, its default profile included, in the reference's order: instances, profiles, images,
/// volumes, networks; each by name.
///
/// # Errors
/// [`Error::Cluster`] when reading fails.
pub async fn project(tx: &mut Tx, name: &str) -> Result<Vec<User>> {
    let custom = VolumeType::Custom.code();
    let sql = format!(
        "WITH held AS (SELECT id, name FROM projects WHERE name = ?1)
         SELECT kind, project, name, pool, '' FROM (
           SELECT 1 AS place, 'instance' AS kind, held.name AS project, i.name AS name, '' AS pool
             FROM instances i JOIN held ON held.id = i.project_id
           UNION ALL SELECT 2, 'profile', held.name, f.name, '' FROM profiles f JOIN held ON held.id = f.project_id
           UNION ALL SELECT 3, 'image', held.name, g.fingerprint, '' FROM images g JOIN held ON held.id = g.project_id
           UNION ALL SELECT 4, 'volume', held.name, v.name, s.name FROM storage_volumes v
             JOIN held ON held.id = v.project_id JOIN storage_pools s ON s.id = v.storage_pool_id
             WHERE v.type = {custom}
           UNION ALL SELECT 5, 'network', held.name, w.name, '' FROM networks w JOIN held ON held.id = w.project_id)
         ORDER BY place, pool, name",
    );
    users(tx, &sql, &[name.into()]).await
}

/// Rows of kind, project, name, pool, snapshot.
async fn users(tx: &mut Tx, sql: &str, parameters: &[dqlite::Value]) -> Result<Vec<User>> {
    let rows = tx.query(sql, parameters).await?;
    let mut users = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let (project, name) = (row.get(1)?, row.get(2)?);
        users.push(match row.get::<&str>(0)? {
            "instance" => User::Instance { project, name },
            "instance-snapshot" => User::InstanceSnapshot {
                project,
                instance: name,
                name: row.get(4)?,
            },
            "profile" => User::Profile { project, name },
            "image" => User::Image {
                project,
                fingerprint: name,
            },
            "network" => User::Network { project, name },
            "volume" => User::StorageVolume {
                project,
                pool: row.get(3)?,
                name,
            },
            "volume-snapshot" => User::StorageVolumeSnapshot {
                project,
                pool: row.get(3)?,
                volume: name,
                name: row.get(4)?,
            },
            other => {
                return Err(Error::Stored {
                    value: other.to_owned(),
                    wanted: "a kind of user",
                });
            }
        });
    }
    Ok(users)
}
