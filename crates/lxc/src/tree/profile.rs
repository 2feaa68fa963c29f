//! Commands about profiles.

use super::{ANY, Command, FORMAT, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("profile", "Manage profiles"),
    Command::new("profile add", "[<remote>:]<instance> <profile>", 2, 2, "Add a profile to an instance"),
    Command::new("profile assign", "[<remote>:]<instance> <profiles>", 2, 2, "Replace the profiles of an instance")
        .aliases(&["apply"])
        .examples(r#"lxc profile assign foo default,bar
    Instance "foo" has the profiles "default" and "bar".

lxc profile assign foo default
    Instance "foo" has the profile "default" only.

lxc profile assign foo ''
    Instance "foo" has no profile"#),
    Command::new("profile copy", "[<remote>:]<profile> [<remote>:]<profile>", 2, 2, "Copy a profile")
        .aliases(&["cp"])
        .flags(&[text("target-project", "Project to put it into")]),
    Command::new("profile create", "[<remote>:]<profile>", 1, 1, "Create a profile"),
    Command::new("profile delete", "[<remote>:]<profile>", 1, 1, "Delete a profile")
        .aliases(&["rm"]),
    Command::group("profile device", "Manage the devices of profiles"),
    Command::new("profile device add", "[<remote>:]<profile> <device> <type> [key=value...]", 3, ANY, "Add a device to a profile")
        .examples(r"lxc profile device add [<remote>:]profile1 <device-name> disk source=/share/c1 path=/opt
    Shows the host's folder /share/c1 as /opt in instances.

lxc profile device add [<remote>:]profile1 <device-name> disk pool=some-pool source=some-volume path=/opt
    Shows the volume some-volume of some-pool as /opt in instances."),
    Command::new("profile device get", "[<remote>:]<profile> <device> <key>", 3, 3, "Print one value of a device"),
    Command::new("profile device list", "[<remote>:]<profile>", 1, 1, "List the devices of a profile")
        .aliases(&["ls"]),
    Command::new("profile device remove", "[<remote>:]<profile> <name>...", 2, ANY, "Remove devices from a profile")
        .aliases(&["rm"]),
    Command::new("profile device set", "[<remote>:]<profile> <device> <key>=<value>...", 3, ANY, "Set values of a device")
        .details("One key may also be given the old way, as two words: lxc profile device set [<remote>:]<profile> <device> <key> <value>"),
    Command::new("profile device show", "[<remote>:]<profile>", 1, 1, "Show the devices of a profile as YAML"),
    Command::new("profile device unset", "[<remote>:]<profile> <device> <key>", 3, 3, "Remove one value of a device"),
    Command::new("profile edit", "[<remote>:]<profile>", 1, 1, "Edit a profile as YAML")
        .examples(r"lxc profile edit <profile> < profile.yaml
    Takes the profile from profile.yaml"),
    Command::new("profile get", "[<remote>:]<profile> <key>", 2, 2, "Print one configuration value of a profile"),
    Command::new("profile list", "[<remote>:]", 0, 1, "List the profiles")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("profile remove", "[<remote>:]<instance> <profile>", 2, 2, "Remove a profile from an instance"),
    Command::new("profile rename", "[<remote>:]<profile> <new-name>", 2, 2, "Rename a profile")
        .aliases(&["mv"]),
    Command::new("profile set", "[<remote>:]<profile> <key><value>...", 2, ANY, "Set configuration values of a profile")
        .details("One key may also be given the old way, as two words: lxc profile set [<remote>:]<profile> <key> <value>"),
    Command::new("profile show", "[<remote>:]<profile>", 1, 1, "Show a profile as YAML"),
    Command::new("profile unset", "[<remote>:]<profile> <key>", 2, 2, "Remove one configuration value of a profile"),
];
