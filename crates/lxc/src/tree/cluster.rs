//! Commands about clusters.

use super::{ANY, Command, FORMAT, switch, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("cluster", "Manage the members of a cluster"),
    Command::new(
        "cluster add",
        "[[<remote>:]<member>]",
        1,
        1,
        "Ask for a token with which a new member can join",
    )
    .flags(&[text("name", "Name of the new member")]),
    Command::new(
        "cluster edit",
        "[<remote>:]<cluster member>",
        1,
        1,
        "Edit a cluster member as YAML",
    )
    .examples(
        r"lxc cluster edit <cluster member> < member.yaml
    Takes the configuration from member.yaml",
    ),
    Command::new(
        "cluster enable",
        "[<remote>:] <name>",
        1,
        2,
        "Turn this server into the first member of a new cluster",
    )
    .details(
        r"The server must be reachable over the network first: see whether
'lxc config get core.https_address' prints an address, and set one where it doesn't.",
    ),
    Command::new(
        "cluster evacuate",
        "[<remote>:]<member>",
        1,
        1,
        "Move all instances away from a cluster member",
    )
    .aliases(&["evac"])
    .flags(&[switch("force", "Don't ask")]),
    Command::new(
        "cluster get",
        "[<remote>:]<member> <key>",
        2,
        2,
        "Print one configuration value of a cluster member",
    ),
    Command::group("cluster group", "Manage groups of cluster members").lenient(),
    Command::new(
        "cluster group assign",
        "[<remote>:]<member> <group>",
        2,
        2,
        "Replace the groups that a cluster member is in",
    )
    .aliases(&["apply"])
    .examples(
        r#"lxc cluster group assign foo default,bar
    Member "foo" is in "default" and "bar".

lxc cluster group assign foo default
    Member "foo" is in "default" only."#,
    ),
    Command::new(
        "cluster group create",
        "[<remote>:]<group>",
        1,
        1,
        "Create a cluster group",
    ),
    Command::new(
        "cluster group delete",
        "[<remote>:]<group>",
        1,
        1,
        "Delete a cluster group",
    )
    .aliases(&["rm"]),
    Command::new(
        "cluster group edit",
        "[<remote>:]<group>",
        1,
        1,
        "Edit a cluster group as YAML",
    ),
    Command::new(
        "cluster group list",
        "[<remote>:]",
        0,
        1,
        "List the cluster groups",
    )
    .aliases(&["ls"])
    .flags(&[FORMAT]),
    Command::new(
        "cluster group remove",
        "[<remote>:]<member> <group>",
        2,
        2,
        "Take a member out of a cluster group",
    ),
    Command::new(
        "cluster group rename",
        "[<remote>:]<group> <new-name>",
        2,
        2,
        "Rename a cluster group",
    )
    .aliases(&["mv"]),
    Command::new(
        "cluster group show",
        "[<remote>:]<group>",
        1,
        1,
        "Show a cluster group as YAML",
    ),
    Command::new("cluster list", "[<remote>:]", 0, 1, "List the cluster members")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new(
        "cluster list-tokens",
        "[<remote>:]",
        0,
        1,
        "List join tokens that are still valid",
    )
    .flags(&[FORMAT]),
    Command::new(
        "cluster remove",
        "[<remote>:]<member>",
        1,
        1,
        "Remove a member from the cluster",
    )
    .aliases(&["rm"])
    .flags(&[
        switch("force", "Remove the member even when it can't be reached").short('f'),
        switch("yes", "Don't ask when --force is given"),
    ]),
    Command::new(
        "cluster rename",
        "[<remote>:]<member> <new-name>",
        2,
        2,
        "Rename a cluster member",
    )
    .aliases(&["mv"]),
    Command::new(
        "cluster restore",
        "[<remote>:]<member>",
        1,
        1,
        "Bring an evacuated cluster member back",
    )
    .flags(&[switch("force", "Don't ask")]),
    Command::new(
        "cluster revoke-token",
        "[<remote>:]<member>",
        1,
        1,
        "Make a join token invalid",
    ),
    Command::group("cluster role", "Manage the roles of cluster members"),
    Command::new(
        "cluster role add",
        "[<remote>:]<member> <role[,role...]>",
        2,
        2,
        "Give roles to a cluster member",
    ),
    Command::new(
        "cluster role remove",
        "[<remote>:]<member> <role[,role...]>",
        2,
        2,
        "Take roles away from a cluster member",
    ),
    Command::new(
        "cluster set",
        "[<remote>:]<member> <key>=<value>...",
        2,
        ANY,
        "Set configuration values of a cluster member",
    ),
    Command::new(
        "cluster show",
        "[<remote>:]<member>",
        1,
        1,
        "Show a cluster member as YAML",
    ),
    Command::new(
        "cluster unset",
        "[<remote>:]<member> <key>",
        2,
        2,
        "Remove one configuration value of a cluster member",
    ),
    Command::new(
        "cluster update-certificate",
        "[<remote>:] <cert.crt> <cert.key>",
        2,
        3,
        "Replace the certificate of the cluster by the one in two PEM files",
    )
    .aliases(&["update-cert"]),
];
