//! Commands about networks.

use super::{ANY, Command, FORMAT, TARGET, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("network", "Manage networks"),
    Command::new("network attach", "[<remote>:]<network> <instance> [<device name>] [<interface name>]", 2, 4, "Give an instance a card on a network"),
    Command::new("network attach-profile", "[<remote>:]<network> <profile> [<device name>] [<interface name>]", 2, 4, "Give a profile a card on a network"),
    Command::new("network create", "[<remote>:]<network> [key=value...]", 1, ANY, "Create a network")
        .flags(&[TARGET, text("type", "Kind of network").short('t')]),
    Command::new("network delete", "[<remote>:]<network>", 1, 1, "Delete a network")
        .aliases(&["rm"]),
    Command::new("network detach", "[<remote>:]<network> <instance> [<device name>]", 2, 3, "Take an instance's card off a network"),
    Command::new("network detach-profile", "[<remote>:]<network> <profile> [<device name>]", 2, 3, "Take a profile's card off a network"),
    Command::new("network edit", "[<remote>:]<network>", 1, 1, "Edit a network as YAML"),
    Command::new("network get", "[<remote>:]<network> <key>", 2, 2, "Print one configuration value of a network")
        .flags(&[TARGET]),
    Command::new("network info", "[<remote>:]<network>", 1, 1, "Show the state of a network")
        .flags(&[TARGET]),
    Command::new("network list", "[<remote>:]", 0, 1, "List the networks")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("network list-leases", "[<remote>:]<network>", 1, 1, "List the DHCP leases of a network")
        .flags(&[FORMAT]),
    Command::new("network rename", "[<remote>:]<network> <new-name>", 2, 2, "Rename a network")
        .aliases(&["mv"]),
    Command::new("network set", "[<remote>:]<network> <key>=<value>...", 2, ANY, "Set configuration values of a network")
        .details("One key may also be given the old way, as two words: lxc network set [<remote>:]<network> <key> <value>")
        .flags(&[TARGET]),
    Command::new("network show", "[<remote>:]<network>", 1, 1, "Show a network as YAML")
        .flags(&[TARGET]),
    Command::new("network unset", "[<remote>:]<network> <key>", 2, 2, "Remove one configuration value of a network")
        .flags(&[TARGET]),
];
