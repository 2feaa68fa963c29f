//! Commands about what goes with networks: access lists, forwards, peerings and zones.

use super::{ANY, Command, FORMAT, TARGET, switch, unsigned};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("network acl", "Manage network access lists"),
    Command::new("network acl create", "[<remote>:]<ACL> [key=value...]", 1, ANY, "Create a network access list"),
    Command::new("network acl delete", "[<remote>:]<ACL>", 1, 1, "Delete a network access list")
        .aliases(&["rm"]),
    Command::new("network acl edit", "[<remote>:]<ACL>", 1, 1, "Edit a network access list as YAML"),
    Command::new("network acl get", "[<remote>:]<ACL> <key>", 2, 2, "Print one configuration value of a network access list"),
    Command::new("network acl list", "[<remote>:]", 0, 1, "List the network access lists")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("network acl rename", "[<remote>:]<ACL> <new-name>", 2, 2, "Rename a network access list")
        .aliases(&["mv"]),
    Command::group("network acl rule", "Manage the rules of a network access list").lenient(),
    Command::new("network acl rule add", "[<remote>:]<ACL> <direction> <key>=<value>...", 2, ANY, "Add a rule to a network access list"),
    Command::new("network acl rule remove", "[<remote>:]<ACL> <direction> <key>=<value>...", 2, ANY, "Remove rules from a network access list")
        .flags(&[switch("force", "Remove all rules that match")]),
    Command::new("network acl set", "[<remote>:]<ACL> <key>=<value>...", 2, ANY, "Set configuration values of a network access list")
        .details("One key may also be given the old way, as two words: lxc network acl set [<remote>:]<ACL> <key> <value>"),
    Command::new("network acl show", "[<remote>:]<ACL>", 1, 1, "Show a network access list as YAML"),
    Command::new("network acl show-log", "[<remote>:]<ACL>", 1, 1, "Print the log of a network access list"),
    Command::new("network acl unset", "[<remote>:]<ACL> <key>", 2, 2, "Remove one configuration value of a network access list"),
    Command::group("network forward", "Manage network forwards"),
    Command::new("network forward create", "[<remote>:]<network> <listen_address> [key=value...]", 2, ANY, "Create a network forward")
        .flags(&[TARGET]),
    Command::new("network forward delete", "[<remote>:]<network> <listen_address>", 2, 2, "Delete a network forward")
        .aliases(&["rm"])
        .flags(&[TARGET]),
    Command::new("network forward edit", "[<remote>:]<network> <listen_address>", 2, 2, "Edit a network forward as YAML")
        .flags(&[TARGET]),
    Command::new("network forward get", "[<remote>:]<network> <listen_address> <key>", 3, 3, "Print one configuration value of a network forward"),
    Command::new("network forward list", "[<remote>:]<network>", 1, 1, "List the forwards of a network")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::group("network forward port", "Manage the ports of a network forward").lenient(),
    Command::new("network forward port add", "[<remote>:]<network> <listen_address> <protocol> <listen_port(s)> <target_address> [<target_port(s)>]", 5, 6, "Add ports to a network forward")
        .flags(&[TARGET]),
    Command::new("network forward port remove", "[<remote>:]<network> <listen_address> [<protocol>] [<listen_port(s)>]", 2, 4, "Remove ports from a network forward")
        .flags(&[switch("force", "Remove all ports that match"), TARGET]),
    Command::new("network forward set", "[<remote>:]<network> <listen_address> <key>=<value>...", 3, ANY, "Set configuration values of a network forward")
        .details("One key may also be given the old way, as two words: lxc network forward set [<remote>:]<network> <listen_address> <key> <value>")
        .flags(&[TARGET]),
    Command::new("network forward show", "[<remote>:]<network> <listen_address>", 2, 2, "Show a network forward as YAML")
        .flags(&[TARGET]),
    Command::new("network forward unset", "[<remote>:]<network> <listen_address> <key>", 3, 3, "Remove one configuration value of a network forward"),
    Command::group("network peer", "Manage network peerings"),
    Command::new("network peer create", "[<remote>:]<network> <peer_name> <[target project/]target_network> [key=value...]", 3, ANY, "Create a network peering"),
    Command::new("network peer delete", "[<remote>:]<network> <peer_name>", 2, 2, "Delete a network peering")
        .aliases(&["rm"]),
    Command::new("network peer edit", "[<remote>:]<network> <peer_name>", 2, 2, "Edit a network peering as YAML"),
    Command::new("network peer get", "[<remote>:]<network> <peer_name> <key>", 3, 3, "Print one configuration value of a network peering"),
    Command::new("network peer list", "[<remote>:]<network>", 1, 1, "List the peerings of a network")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("network peer set", "[<remote>:]<network> <peer_name> <key>=<value>...", 3, ANY, "Set configuration values of a network peering")
        .details("One key may also be given the old way, as two words: lxc network peer set [<remote>:]<network> <peer_name> <key> <value>"),
    Command::new("network peer show", "[<remote>:]<network> <peer name>", 2, 2, "Show a network peering as YAML"),
    Command::new("network peer unset", "[<remote>:]<network> <peer_name> <key>", 3, 3, "Remove one configuration value of a network peering"),
    Command::group("network zone", "Manage DNS zones"),
    Command::new("network zone create", "[<remote>:]<Zone> [key=value...]", 1, ANY, "Create a DNS zone"),
    Command::new("network zone delete", "[<remote>:]<Zone>", 1, 1, "Delete a DNS zone")
        .aliases(&["rm"]),
    Command::new("network zone edit", "[<remote>:]<Zone>", 1, 1, "Edit a DNS zone as YAML"),
    Command::new("network zone get", "[<remote>:]<Zone> <key>", 2, 2, "Print one configuration value of a DNS zone"),
    Command::new("network zone list", "[<remote>:]", 0, 1, "List the DNS zones")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::group("network zone record", "Manage the records of a DNS zone"),
    Command::new("network zone record create", "[<remote>:]<zone> <record> [key=value...]", 2, ANY, "Create a DNS record"),
    Command::new("network zone record delete", "[<remote>:]<zone> <record>", 2, 2, "Delete a DNS record")
        .aliases(&["rm"]),
    Command::new("network zone record edit", "[<remote>:]<zone> <record>", 2, 2, "Edit a DNS record as YAML"),
    Command::group("network zone record entry", "Manage the entries of a DNS record").lenient(),
    Command::new("network zone record entry add", "[<remote>:]<zone> <record> <type> <value>", 4, 4, "Add an entry to a DNS record")
        .flags(&[unsigned("ttl", "Time to live of the entry, in seconds")]),
    Command::new("network zone record entry remove", "[<remote>:]<zone> <record> <type> <value>", 4, 4, "Remove an entry from a DNS record"),
    Command::new("network zone record get", "[<remote>:]<zone> <record> <key>", 3, 3, "Print one configuration value of a DNS record"),
    Command::new("network zone record list", "[<remote>:]<zone>", 1, 1, "List the records of a DNS zone")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("network zone record set", "[<remote>:]<zone> <record> <key>=<value>...", 3, ANY, "Set configuration values of a DNS record"),
    Command::new("network zone record show", "[<remote>:]<zone> <record>", 2, 2, "Show a DNS record as YAML"),
    Command::new("network zone record unset", "[<remote>:]<zone> <record> <key>", 3, 3, "Remove one configuration value of a DNS record"),
    Command::new("network zone set", "[<remote>:]<Zone> <key>=<value>...", 2, ANY, "Set configuration values of a DNS zone")
        .details("One key may also be given the old way, as two words: lxc network zone set [<remote>:]<Zone> <key> <value>"),
    Command::new("network zone show", "[<remote>:]<Zone>", 1, 1, "Show a DNS zone as YAML"),
    Command::new("network zone unset", "[<remote>:]<Zone> <key>", 2, 2, "Remove one configuration value of a DNS zone"),
];
