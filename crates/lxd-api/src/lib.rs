//! The wire of the LXD REST API: types, endpoint table, envelope. It holds no logic.
//!
//! Field names, their order and their types are those of LXD 5.0.2's API specification; order matters, as clients
//! print these structs as YAML and JSON.

pub mod certificates;
pub mod cluster;
pub mod endpoints;
pub mod envelope;
pub mod events;
pub mod extensions;
pub mod images;
pub mod init;
pub mod instance_backups;
pub mod instance_exec;
pub mod instance_snapshots;
pub mod instance_state;
pub mod instances;
pub mod network_acls;
pub mod network_forwards;
pub mod network_peers;
pub mod network_zones;
pub mod networks;
pub mod operations;
pub mod profiles;
pub mod projects;
pub mod recover;
pub mod resources;
pub mod server;
pub mod storage_pools;
pub mod storage_volumes;
pub mod time;
pub mod warnings;
mod wire;

pub use time::Time;
