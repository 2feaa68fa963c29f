//! Wire types: the server and its environment.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::wire::{part_of, wire};

wire! {
    /// The server as trusted callers see it.
    pub struct Server {
        config: BTreeMap<String, Value>,
        api_extensions: Vec<String>,
        api_status: String,
        api_version: String,
        auth: String,
        public: bool,
        auth_methods: Vec<String>,
        environment: ServerEnvironment,
    }
}

wire! {
    /// A server environment.
    pub struct ServerEnvironment {
        addresses: Vec<String>,
        architectures: Vec<String>,
        certificate: String,
        certificate_fingerprint: String,
        driver: String,
        driver_version: String,
        firewall: String,
        kernel: String,
        kernel_architecture: String,
        kernel_features: BTreeMap<String, String>,
        kernel_version: String,
        lxc_features: BTreeMap<String, String>,
        os_name: String,
        os_version: String,
        project: String,
        server: String,
        server_clustered: bool,
        server_event_mode: String,
        server_name: String,
        server_pid: i64,
        server_version: String,
        storage: String,
        storage_version: String,
        storage_supported_drivers: Vec<ServerStorageDriverInfo>,
    }
}

wire! {
    /// What may be changed of the server: its configuration.
    pub struct ServerPut {
        config: BTreeMap<String, Value>,
    }
}

wire! {
    /// A server storage driver info.
    pub struct ServerStorageDriverInfo {
        #[serde(rename = "Name")]
        name: String,
        #[serde(rename = "Version")]
        version: String,
        #[serde(rename = "Remote")]
        remote: bool,
    }
}

wire! {
    /// The server as anybody may see it.
    pub struct ServerUntrusted {
        api_extensions: Vec<String>,
        api_status: String,
        api_version: String,
        auth: String,
        public: bool,
        auth_methods: Vec<String>,
    }
}

part_of! { ServerPut of Server: config }
