//! Wire types: the cluster and its members.

use std::collections::BTreeMap;

use crate::time::Time;
use crate::wire::wire;

wire! {
    /// A cluster.
    pub struct Cluster {
        server_name: String,
        enabled: bool,
        member_config: Vec<ClusterMemberConfigKey>,
    }
}

wire! {
    /// What a PUT may change of a cluster certificate.
    pub struct ClusterCertificatePut {
        cluster_certificate: String,
        cluster_certificate_key: String,
    }
}

wire! {
    /// A cluster group.
    pub struct ClusterGroup {
        description: String,
        members: Vec<String>,
        name: String,
    }
}

wire! {
    /// What a POST to a cluster group asks for.
    pub struct ClusterGroupPost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of a cluster group.
    pub struct ClusterGroupPut {
        description: String,
        members: Vec<String>,
    }
}

wire! {
    /// A new cluster group, as a client asks for it.
    pub struct ClusterGroupsPost {
        description: String,
        members: Vec<String>,
        name: String,
    }
}

wire! {
    /// A cluster member.
    pub struct ClusterMember {
        roles: Vec<String>,
        failure_domain: String,
        description: String,
        config: BTreeMap<String, String>,
        groups: Vec<String>,
        server_name: String,
        url: String,
        database: bool,
        status: String,
        message: String,
        architecture: String,
    }
}

wire! {
    /// A cluster member config key.
    pub struct ClusterMemberConfigKey {
        entity: String,
        name: String,
        key: String,
        value: String,
        description: String,
    }
}

wire! {
    /// A token that lets a server join.
    pub struct ClusterMemberJoinToken {
        addresses: Vec<String>,
        expires_at: Time,
        fingerprint: String,
        secret: String,
        server_name: String,
    }
}

wire! {
    /// What a POST to a cluster member asks for.
    pub struct ClusterMemberPost {
        server_name: String,
    }
}

wire! {
    /// What a PUT may change of a cluster member.
    pub struct ClusterMemberPut {
        config: BTreeMap<String, String>,
        description: String,
        failure_domain: String,
        groups: Vec<String>,
        roles: Vec<String>,
    }
}

wire! {
    /// What a POST to a cluster member state asks for.
    pub struct ClusterMemberStatePost {
        action: String,
        mode: String,
    }
}

wire! {
    /// A new cluster member, as a client asks for it.
    pub struct ClusterMembersPost {
        server_name: String,
    }
}

wire! {
    /// What a PUT may change of a cluster.
    pub struct ClusterPut {
        server_name: String,
        enabled: bool,
        member_config: Vec<ClusterMemberConfigKey>,
        cluster_address: String,
        cluster_certificate: String,
        server_address: String,
        cluster_password: String,
    }
}
