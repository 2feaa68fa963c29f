//! Wire types: network peers.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// A network peer.
    pub struct NetworkPeer {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        status: String,
        target_network: String,
        target_project: String,
        used_by: Vec<String>,
    }
}

wire! {
    /// What a PUT may change of a network peer.
    pub struct NetworkPeerPut {
        config: BTreeMap<String, String>,
        description: String,
    }
}

wire! {
    /// A new network peer, as a client asks for it.
    pub struct NetworkPeersPost {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        target_network: String,
        target_project: String,
    }
}
