//! Wire types: operations.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::time::Time;
use crate::wire::wire;

wire! {
    /// Background work, as the operations API shows it.
    pub struct Operation {
        id: String,
        class: String,
        description: String,
        created_at: Time,
        updated_at: Time,
        status: String,
        status_code: u16,
        #[serde(serialize_with = "crate::wire::null_when_empty")]
        resources: BTreeMap<String, Vec<String>>,
        metadata: Value,
        may_cancel: bool,
        err: String,
        location: String,
    }
}
