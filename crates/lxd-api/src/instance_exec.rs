//! Wire types: commands and consoles of instances.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// What a POST to an instance console asks for.
    pub struct InstanceConsolePost {
        height: i64,
        r#type: String,
        width: i64,
    }
}

wire! {
    /// What a POST to an instance exec asks for.
    pub struct InstanceExecPost {
        command: Vec<String>,
        cwd: String,
        environment: BTreeMap<String, String>,
        group: u32,
        height: i64,
        interactive: bool,
        #[serde(rename = "record-output")]
        record_output: bool,
        user: u32,
        #[serde(rename = "wait-for-websocket")]
        wait_for_websocket: bool,
        width: i64,
    }
}
