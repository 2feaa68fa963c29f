//! Wire types: network ACLs.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// A network ACL.
    pub struct NetworkACL {
        config: BTreeMap<String, String>,
        description: String,
        egress: Vec<NetworkACLRule>,
        ingress: Vec<NetworkACLRule>,
        name: String,
        used_by: Vec<String>,
    }
}

wire! {
    /// What a POST to a network ACL asks for.
    pub struct NetworkACLPost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of a network ACL.
    pub struct NetworkACLPut {
        config: BTreeMap<String, String>,
        description: String,
        egress: Vec<NetworkACLRule>,
        ingress: Vec<NetworkACLRule>,
    }
}

wire! {
    /// A network ACL rule.
    pub struct NetworkACLRule {
        action: String,
        description: String,
        destination: String,
        destination_port: String,
        icmp_code: String,
        icmp_type: String,
        protocol: String,
        source: String,
        source_port: String,
        state: String,
    }
}

wire! {
    /// A new network ACL, as a client asks for it.
    pub struct NetworkACLsPost {
        config: BTreeMap<String, String>,
        description: String,
        egress: Vec<NetworkACLRule>,
        ingress: Vec<NetworkACLRule>,
        name: String,
    }
}
