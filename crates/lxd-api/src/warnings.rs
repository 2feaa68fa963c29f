//! Wire types: warnings.

use crate::time::Time;
use crate::wire::{part_of, wire};

wire! {
    /// A warning.
    pub struct Warning {
        status: String,
        uuid: String,
        location: String,
        project: String,
        r#type: String,
        count: i64,
        first_seen_at: Time,
        last_seen_at: Time,
        last_message: String,
        severity: String,
        entity_url: String,
    }
}

wire! {
    /// What a PUT may change of a warning.
    pub struct WarningPut {
        status: String,
    }
}

part_of! { WarningPut of Warning: status }
