//! Commands about configuration, devices, templates and trust.

use super::{ANY, Command, FORMAT, TARGET, switch, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("config", "Manage the configuration of instances and of the server"),
    Command::group("config device", "Manage the devices of instances"),
    Command::new("config device add", "[<remote>:]<instance> <device> <type> [key=value...]", 3, ANY, "Add a device to an instance")
        .examples(r"lxc config device add [<remote>:]instance1 <device-name> disk source=/share/c1 path=/opt
    Shows the host's folder /share/c1 as /opt in the instance.

lxc config device add [<remote>:]instance1 <device-name> disk pool=some-pool source=some-volume path=/opt
    Shows the volume some-volume of some-pool as /opt in the instance."),
    Command::new("config device get", "[<remote>:]<instance> <device> <key>", 3, 3, "Print one value of a device"),
    Command::new("config device list", "[<remote>:]<instance>", 1, 1, "List the devices of an instance")
        .aliases(&["ls"]),
    Command::new("config device override", "[<remote>:]<instance> <device> [key=value...]", 2, ANY, "Copy a device from a profile into the instance and change it there"),
    Command::new("config device remove", "[<remote>:]<instance> <name>...", 2, ANY, "Remove devices from an instance")
        .aliases(&["rm"]),
    Command::new("config device set", "[<remote>:]<instance> <device> <key>=<value>...", 3, ANY, "Set values of a device")
        .details("One key may also be given the old way, as two words: lxc config device set [<remote>:]<instance> <device> <key> <value>"),
    Command::new("config device show", "[<remote>:]<instance>", 1, 1, "Show the devices of an instance as YAML"),
    Command::new("config device unset", "[<remote>:]<instance> <device> <key>", 3, 3, "Remove one value of a device"),
    Command::new("config edit", "[<remote>:][<instance>[/<snapshot>]]", 0, 1, "Edit the configuration of an instance or of the server as YAML")
        .examples(r"lxc config edit <instance> < instance.yaml
    Takes the configuration from instance.yaml.")
        .flags(&[TARGET]),
    Command::new("config get", "[<remote>:][<instance>] <key>", 1, 2, "Print one configuration value")
        .flags(&[switch("expanded", "Take the values of profiles into account").short('e'), TARGET]),
    Command::group("config metadata", "Manage the image metadata of an instance"),
    Command::new("config metadata edit", "[<remote>:]<instance>", 1, 1, "Edit the metadata of an instance as YAML"),
    Command::new("config metadata show", "[<remote>:]<instance>", 1, 1, "Show the metadata of an instance as YAML"),
    Command::new("config set", "[<remote>:][<instance>] <key>=<value>...", 1, ANY, "Set configuration values of an instance or of the server")
        .details("One key may also be given the old way, as two words: lxc config set [<remote>:][<instance>] <key> <value>")
        .examples(r#"lxc config set [<remote>:]<instance> limits.cpu=2
    Gives the instance two CPUs.

lxc config set core.https_address=[::]:8443
    Makes the server listen on port 8443.

lxc config set core.trust_password=blah
    New clients are trusted when they know the word "blah"."#)
        .flags(&[TARGET]),
    Command::new("config show", "[<remote>:][<instance>[/<snapshot>]]", 0, 1, "Show the configuration of an instance or of the server as YAML")
        .flags(&[switch("expanded", "Show the values of profiles too").short('e'), TARGET]),
    Command::group("config template", "Manage the file templates of an instance"),
    Command::new("config template create", "[<remote>:]<instance> <template>", 2, 2, "Create a file template"),
    Command::new("config template delete", "[<remote>:]<instance> <template>", 2, 2, "Delete a file template")
        .aliases(&["rm"]),
    Command::new("config template edit", "[<remote>:]<instance> <template>", 2, 2, "Edit a file template"),
    Command::new("config template list", "[<remote>:]<instance>", 1, 1, "List the file templates of an instance")
        .flags(&[FORMAT]),
    Command::new("config template show", "[<remote>:]<instance> <template>", 2, 2, "Print a file template"),
    Command::group("config trust", "Manage the clients that the server trusts"),
    Command::new("config trust add", "[<remote>:] [<cert>]", 0, 2, "Trust a new client")
        .details(r"Kinds of certificates (--type):
- client (default): may use the API
- metrics: may only read /1.0/metrics

Without a certificate, a token is made and printed. A client that shows the token is trusted from then on,
and the token is used up. Tokens can be restricted to projects, like certificates.")
        .flags(&[
            text("name", "Name of the certificate"),
            text("projects", "Projects that the certificate is good for, with commas"),
            switch("restricted", "Restrict the certificate to projects"),
            text("type", "Kind of certificate").default("client"),
        ]),
    Command::new("config trust edit", "[<remote>:]<fingerprint>", 1, 1, "Edit a trusted client as YAML"),
    Command::new("config trust list", "[<remote>:]", 0, 1, "List the trusted clients")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("config trust list-tokens", "[<remote>:]", 0, 1, "List client tokens that are still valid")
        .flags(&[FORMAT]),
    Command::new("config trust remove", "[<remote>:]<fingerprint>", 1, 2, "Stop trusting a client")
        .aliases(&["rm"]),
    Command::new("config trust revoke-token", "[<remote>:] <name>", 1, 1, "Make a client token invalid"),
    Command::new("config trust show", "[<remote>:]<fingerprint>", 1, 1, "Show a trusted client as YAML"),
    Command::new("config unset", "[<remote>:][<instance>] <key>", 1, 2, "Remove one configuration value")
        .flags(&[TARGET]),
];
