//! Wire types: network forwards.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// A network forward.
    pub struct NetworkForward {
        config: BTreeMap<String, String>,
        description: String,
        listen_address: String,
        location: String,
        ports: Vec<NetworkForwardPort>,
    }
}

wire! {
    /// A network forward port.
    pub struct NetworkForwardPort {
        description: String,
        listen_port: String,
        protocol: String,
        target_address: String,
        target_port: String,
    }
}

wire! {
    /// What a PUT may change of a network forward.
    pub struct NetworkForwardPut {
        config: BTreeMap<String, String>,
        description: String,
        ports: Vec<NetworkForwardPort>,
    }
}

wire! {
    /// A new network forward, as a client asks for it.
    pub struct NetworkForwardsPost {
        config: BTreeMap<String, String>,
        description: String,
        listen_address: String,
        ports: Vec<NetworkForwardPort>,
    }
}
