//! Commands about storage pools and volumes.

use super::{ANY, Command, FORMAT, TARGET, switch, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("storage", "Manage storage pools and volumes"),
    Command::new("storage create", "[<remote>:]<pool> <driver> [key=value...]", 2, ANY, "Create a storage pool")
        .flags(&[TARGET]),
    Command::new("storage delete", "[<remote>:]<pool>", 1, 1, "Delete a storage pool")
        .aliases(&["rm"]),
    Command::new("storage edit", "[<remote>:]<pool>", 1, 1, "Edit a storage pool as YAML")
        .examples(r"lxc storage edit [<remote>:]<pool> < pool.yaml
    Takes the pool from pool.yaml."),
    Command::new("storage get", "[<remote>:]<pool> <key>", 2, 2, "Print one configuration value of a storage pool")
        .flags(&[TARGET]),
    Command::new("storage info", "[<remote>:]<pool>", 1, 1, "Show the space and the users of a storage pool")
        .flags(&[switch("bytes", "Give sizes in bytes"), TARGET]),
    Command::new("storage list", "[<remote>:]", 0, 1, "List the storage pools")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("storage set", "[<remote>:]<pool> <key> <value>", 2, ANY, "Set a configuration value of a storage pool")
        .details("One key may also be given the old way, as two words: lxc storage set [<remote>:]<pool> <key> <value>")
        .flags(&[TARGET]),
    Command::new("storage show", "[<remote>:]<pool>", 1, 1, "Show a storage pool as YAML")
        .flags(&[switch("resources", "Show the pool's space and inodes"), TARGET]),
    Command::new("storage unset", "[<remote>:]<pool> <key>", 2, 2, "Remove one configuration value of a storage pool")
        .flags(&[TARGET]),
    Command::group("storage volume", "Manage storage volumes")
        .details(r#"Volumes are "custom" ones, made by users, where no other kind is named by a prefix."#),
    Command::new("storage volume attach", "[<remote>:]<pool> <volume> <instance> [<device name>] [<path>]", 3, 5, "Attach a volume to an instance"),
    Command::new("storage volume attach-profile", "[<remote:>]<pool> <volume> <profile> [<device name>] [<path>]", 3, 5, "Attach a volume to a profile"),
    Command::new("storage volume copy", "[<remote>:]<pool>/<volume>[/<snapshot>] [<remote>:]<pool>/<volume>", 2, 2, "Copy a volume")
        .aliases(&["cp"])
        .flags(&[
            text("destination-target", "Cluster member that gets the volume"),
            text("mode", "Who connects to whom (pull, push or relay)").default("pull"),
            switch("refresh", "Bring an existing copy up to date"),
            TARGET,
            text("target-project", "Project to put it into"),
            switch("volume-only", "Leave snapshots out"),
        ]),
    Command::new("storage volume create", "[<remote>:]<pool> <volume> [key=value...]", 2, ANY, "Create a custom volume")
        .flags(&[
            TARGET,
            text("type", "What the volume holds (block or filesystem)").default("filesystem"),
        ]),
    Command::new("storage volume delete", "[<remote>:]<pool> <volume>[/<snapshot>]", 2, 2, "Delete a volume or one of its snapshots")
        .aliases(&["rm"])
        .flags(&[TARGET]),
    Command::new("storage volume detach", "[<remote>:]<pool> <volume> <instance> [<device name>]", 3, 4, "Detach a volume from an instance"),
    Command::new("storage volume detach-profile", "[<remote:>]<pool> <volume> <profile> [<device name>]", 3, 4, "Detach a volume from a profile"),
    Command::new("storage volume edit", "[<remote>:]<pool> <volume>[/<snapshot>]", 2, 2, "Edit a volume as YAML")
        .examples(r"lxc storage volume edit [<remote>:]<pool> <volume> < volume.yaml
    Takes the volume from volume.yaml.")
        .flags(&[TARGET]),
    Command::new("storage volume export", "[<remote>:]<pool> <volume> [<path>]", 2, 3, "Save a custom volume as a backup file")
        .flags(&[
            text("compression", "Compression program, or none"),
            switch("optimized-storage", "Use the storage driver's own format (fits pools of the same kind only)"),
            TARGET,
            switch("volume-only", "Leave snapshots out"),
        ]),
    Command::new("storage volume get", "[<remote>:]<pool> <volume>[/<snapshot>] <key>", 3, 3, "Print one configuration value of a volume")
        .flags(&[TARGET]),
    Command::new("storage volume import", "[<remote>:]<pool> <backup file> [<volume name>]", 2, 3, "Restore a custom volume from a backup file")
        .examples(r"lxc storage volume import default backup0.tar.gz
    Makes a volume from backup0.tar.gz.")
        .flags(&[TARGET]),
    Command::new("storage volume info", "[<remote>:]<pool> <volume>", 2, 2, "Show the state of a volume")
        .flags(&[TARGET]),
    Command::new("storage volume list", "[<remote>:]<pool> [<filter>...]", 1, ANY, "List the volumes of a pool")
        .aliases(&["ls"])
        .details(r"Columns are chosen with -c, as letters with or without commas between them:
    c - Content type (filesystem or block)
    d - Description
    e - Project name
    L - Location (cluster member)
    n - Name
    t - Kind of volume (custom, image, container or virtual-machine)
    u - How many use it
    U - Disk usage")
        .flags(&[
            switch("all-projects", "Show the volumes of every project"),
            text("columns", "Columns to show").short('c').default("etndcuL"),
            FORMAT,
        ]),
    Command::new("storage volume move", "[<remote>:]<pool>/<volume> [<remote>:]<pool>/<volume>", 2, 2, "Move a volume to another pool")
        .aliases(&["mv"])
        .flags(&[
            text("destination-target", "Cluster member that gets the volume"),
            text("mode", "Who connects to whom (pull, push or relay)").default("pull"),
            TARGET,
            text("target-project", "Project to put it into"),
        ]),
    Command::new("storage volume rename", "[<remote>:]<pool> <old name>[/<old snapshot name>] <new name>[/<new snapshot name>]", 3, 3, "Rename a volume or one of its snapshots")
        .flags(&[TARGET]),
    Command::new("storage volume restore", "[<remote>:]<pool> <volume> <snapshot>", 3, 3, "Take a volume back to a snapshot")
        .flags(&[TARGET]),
    Command::new("storage volume set", "[<remote>:]<pool> <volume> <key>=<value>...", 3, ANY, "Set configuration values of a volume")
        .details("One key may also be given the old way, as two words: lxc storage volume set [<remote>:]<pool> <volume> <key> <value>")
        .flags(&[TARGET]),
    Command::new("storage volume show", "[<remote>:]<pool> <volume>[/<snapshot>]", 2, 2, "Show a volume as YAML")
        .examples(r#"lxc storage volume show default data
    Shows the custom volume "data" of the pool "default".

lxc storage volume show default container/data
    Shows the volume of the container "data" in the pool "default"."#)
        .flags(&[TARGET]),
    Command::new("storage volume snapshot", "[<remote>:]<pool> <volume> [<snapshot>]", 2, 3, "Take a snapshot of a volume")
        .flags(&[
            switch("no-expiry", "Keep the snapshot for ever, whatever the configuration says"),
            switch("reuse", "Replace a snapshot of the same name"),
            TARGET,
        ]),
    Command::new("storage volume unset", "[<remote>:]<pool> <volume> <key>", 3, 3, "Remove one configuration value of a volume")
        .flags(&[TARGET]),
];
