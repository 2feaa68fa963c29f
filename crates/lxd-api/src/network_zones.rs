//! Wire types: network zones.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// A network zone.
    pub struct NetworkZone {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        used_by: Vec<String>,
    }
}

wire! {
    /// What a PUT may change of a network zone.
    pub struct NetworkZonePut {
        config: BTreeMap<String, String>,
        description: String,
    }
}

wire! {
    /// A network zone record.
    pub struct NetworkZoneRecord {
        config: BTreeMap<String, String>,
        description: String,
        entries: Vec<NetworkZoneRecordEntry>,
        name: String,
    }
}

wire! {
    /// A network zone record entry.
    pub struct NetworkZoneRecordEntry {
        ttl: u64,
        r#type: String,
        value: String,
    }
}

wire! {
    /// What a PUT may change of a network zone record.
    pub struct NetworkZoneRecordPut {
        config: BTreeMap<String, String>,
        description: String,
        entries: Vec<NetworkZoneRecordEntry>,
    }
}

wire! {
    /// A new network zone record, as a client asks for it.
    pub struct NetworkZoneRecordsPost {
        config: BTreeMap<String, String>,
        description: String,
        entries: Vec<NetworkZoneRecordEntry>,
        name: String,
    }
}

wire! {
    /// A new network zone, as a client asks for it.
    pub struct NetworkZonesPost {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
    }
}
