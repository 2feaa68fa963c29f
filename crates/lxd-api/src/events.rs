//! Wire types: the events stream.

use serde_json::Value;

use crate::time::Time;
use crate::wire::wire;

wire! {
    /// One message on the events stream.
    pub struct Event {
        r#type: String,
        timestamp: Time,
        metadata: Value,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        location: String,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        project: String,
    }
}
