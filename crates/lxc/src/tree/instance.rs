//! Commands about instances.

use super::{ANY, Command, FORMAT, TARGET, list, signed, switch, text, unsigned};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::new("console", "[<remote>:]<instance>", 1, 1, "Attach to the console of an instance")
        .details("Use it to log in on the boot console, or to read what was printed there (--show-log).")
        .flags(&[
            switch("show-log", "Print the console's log"),
            text("type", "Kind of console ('console' for the serial one, 'vga' for the screen)").short('t').default("console"),
        ]),
    Command::new("copy", "[<remote>:]<source>[/<snapshot>] [[<remote>:]<destination>]", 1, 2, "Copy an instance, on one server or from one to another")
        .aliases(&["cp"])
        .details(r"With --mode you choose who connects to whom:
 - pull: the target fetches from the source, which must listen on the network (default)
 - push: the source sends to the target, which must listen on the network
 - relay: this client connects to both of them and passes the data on")
        .flags(&[
            switch("allow-inconsistent", "Go on when files change or vanish during the copy"),
            list("config", "Configuration key=value for the new instance; may be repeated").short('c'),
            list("device", "Device setting name,key=value; may be repeated").short('d'),
            switch("ephemeral", "Delete the instance when it stops").short('e'),
            switch("instance-only", "Leave snapshots out"),
            text("mode", "Who connects to whom (pull, push or relay)").default("pull"),
            switch("no-profiles", "Apply no profile"),
            list("profile", "Profile for the instance; may be repeated").short('p'),
            switch("refresh", "Bring an existing copy up to date"),
            switch("stateless", "Leave the running state out"),
            text("storage", "Storage pool to use").short('s'),
            TARGET,
            text("target-project", "Project to put it into"),
        ]),
    Command::new("delete", "[<remote>:]<instance>[/<snapshot>] [[<remote>:]<instance>[/<snapshot>]...]", 1, ANY, "Delete instances and snapshots")
        .aliases(&["rm"])
        .flags(&[
            switch("force", "Stop the instances first where they run").short('f'),
            switch("interactive", "Ask before deleting").short('i'),
        ]),
    Command::new("exec", "[<remote>:]<instance> [flags] [--] <command line>", 2, ANY, "Run a command inside an instance")
        .details(r#"The command is started as it is, without a shell. For pipes, variables or patterns, start a shell yourself:

  lxc exec <instance> -- sh -c "cd /tmp && pwd"

It gets a terminal where both standard input and standard output are terminals."#)
        .flags(&[
            text("cwd", "Folder to start the command in (default /root)"),
            switch("disable-stdin", "Let the command read from /dev/null").short('n'),
            list("env", "Environment variable NAME=value for the command; may be repeated"),
            switch("force-interactive", "Use a terminal").short('t'),
            switch("force-noninteractive", "Use no terminal").short('T'),
            unsigned("group", "Group ID of the command (default 0)"),
            text("mode", "Whether to use a terminal (auto, interactive or non-interactive)").default("auto"),
            unsigned("user", "User ID of the command (default 0)"),
        ]),
    Command::new("export", "[<remote>:]<instance> [target] [--instance-only] [--optimized-storage]", 1, 2, "Save an instance as a backup file")
        .examples(r"lxc export u1 backup0.tar.gz
    Saves u1 as backup0.tar.gz.")
        .flags(&[
            text("compression", "Compression program, or none"),
            switch("instance-only", "Leave snapshots out"),
            switch("optimized-storage", "Use the storage driver's own format (fits pools of the same kind only)"),
        ]),
    Command::group("file", "Manage files inside instances"),
    Command::new("file delete", "[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...]", 1, ANY, "Delete files inside an instance")
        .aliases(&["rm"]),
    Command::new("file edit", "[<remote>:]<instance>/<path>", 1, 1, "Edit a file inside an instance"),
    Command::new("file mount", "[<remote>:]<instance>[/<path>] [<target path>]", 1, 2, "Mount a folder of an instance")
        .examples(r"lxc file mount foo/root fooroot
   Shows /root of the instance foo as the local folder fooroot.")
        .flags(&[
            text("auth-user", "User name that SFTP clients must give").value("string"),
            text("listen", "Serve SFTP on address:port instead of mounting").value("string"),
            switch("no-auth", "Serve SFTP to anybody"),
        ]),
    Command::new("file pull", "[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...] <target path>", 2, ANY, "Fetch files from an instance")
        .examples(r"lxc file pull foo/etc/hosts .
   Fetches /etc/hosts of the instance foo into the current folder.")
        .flags(&[
            switch("create-dirs", "Make missing folders").short('p'),
            switch("recursive", "Transfer whole folders").short('r'),
        ]),
    Command::new("file push", "<source path>... [<remote>:]<instance>/<path>", 2, ANY, "Put files into an instance")
        .examples(r"lxc file push /etc/hosts foo/etc/hosts
   Puts the host's /etc/hosts into the instance foo.")
        .flags(&[
            switch("create-dirs", "Make missing folders").short('p'),
            signed("gid", "Group ID of the file").default("-1"),
            text("mode", "Permissions of the file"),
            switch("recursive", "Transfer whole folders").short('r'),
            signed("uid", "User ID of the file").default("-1"),
        ]),
    Command::new("import", "[<remote>:] <backup file> [<instance name>]", 1, 3, "Restore an instance from a backup file")
        .examples(r"lxc import backup0.tar.gz
    Makes an instance from backup0.tar.gz.")
        .flags(&[text("storage", "Storage pool to use").short('s')]),
    Command::new("info", "[<remote>:][<instance>]", 0, 1, "Describe an instance or the server")
        .examples(r"lxc info [<remote>:]<instance> [--show-log]
    About an instance.

lxc info [<remote>:] [--resources]
    About the server.")
        .flags(&[
            switch("resources", "Show the server's hardware"),
            switch("show-log", "Show the end of the instance's log"),
            TARGET,
        ]),
    Command::new("init", "[<remote>:]<image> [<remote>:][<name>]", 0, 2, "Create an instance without starting it")
        .hidden()
        .examples(r"lxc init ubuntu:22.04 u1

lxc init ubuntu:22.04 u1 < config.yaml
    Takes the configuration from config.yaml")
        .flags(&[
            list("config", "Configuration key=value for the new instance; may be repeated").short('c'),
            list("device", "Device setting name,key=value; may be repeated").short('d'),
            switch("empty", "Create the instance without an image"),
            switch("ephemeral", "Delete the instance when it stops").short('e'),
            text("network", "Network to connect the instance to").short('n'),
            switch("no-profiles", "Apply no profile"),
            list("profile", "Profile for the instance; may be repeated").short('p'),
            text("storage", "Storage pool to use").short('s'),
            TARGET,
            text("type", "Size of the instance, as cloud providers name them").short('t'),
            switch("vm", "Create a virtual machine"),
        ]),
    Command::new("launch", "[<remote>:]<image> [<remote>:][<name>]", 1, 2, "Create an instance and start it")
        .examples(r"lxc launch ubuntu:22.04 u1

lxc launch ubuntu:22.04 u1 < config.yaml
    Takes the configuration from config.yaml

lxc launch ubuntu:22.04 v1 --vm
    Makes a virtual machine")
        .flags(&[
            list("config", "Configuration key=value for the new instance; may be repeated").short('c'),
            text("console", "Attach to the console at once").or("console"),
            list("device", "Device setting name,key=value; may be repeated").short('d'),
            switch("empty", "Create the instance without an image"),
            switch("ephemeral", "Delete the instance when it stops").short('e'),
            text("network", "Network to connect the instance to").short('n'),
            switch("no-profiles", "Apply no profile"),
            list("profile", "Profile for the instance; may be repeated").short('p'),
            text("storage", "Storage pool to use").short('s'),
            TARGET,
            text("type", "Size of the instance, as cloud providers name them").short('t'),
            switch("vm", "Create a virtual machine"),
        ]),
    Command::new("list", "[<remote>:] [<filter>...]", 0, ANY, "List instances")
        .aliases(&["ls"])
        .details(r"Default columns: ns46tS
Fast columns: nsacPt

A filter is one of these, and instances must fit all filters:
- a word: the start of the name
- a regular expression for the name (e.g. .*web.*01$)
- a configuration key=value, where parts of the key may be shortened (u.blah=abc stands for user.blah=abc)
- a configuration key and a regular expression for its value (e.g. volatile.eth0.hwaddr=00:16:3e:.*)
- one of these, with commas between several values:
    type={container or virtual-machine}
    status={running, stopped, ...}
    architecture={architecture}
    location={cluster member}
    ipv4={address or subnet}
    ipv6={address or subnet}

== Columns ==
Columns are chosen with -c, as letters with or without commas between them, or as configuration keys:

  4 - IPv4 address
  6 - IPv6 address
  a - Architecture
  b - Storage pool
  c - Creation date
  d - Description
  D - Disk usage
  e - Project name
  l - Last used date
  m - Memory usage
  M - Memory usage (%)
  n - Name
  N - Number of processes
  p - PID of the first process
  P - Profiles
  s - State
  S - Number of snapshots
  t - Type (persistent or ephemeral)
  u - CPU usage (in seconds)
  L - Location (cluster member)
  f - Fingerprint of the base image (short)
  F - Fingerprint of the base image (long)

A key is written [config:|devices:]key[:name][:width]:
  name is the title of the column (default: the key),
  width is where values are cut off (default -1: never; 0: at the width of the title).")
        .examples(r"lxc list -c nFs46,volatile.eth0.hwaddr:MAC,config:image.os,devices:eth0.parent:ETHP
  Shows the columns NAME, BASE IMAGE, STATE, IPV4, IPV6, and three made from keys: MAC, IMAGE OS and ETHP.

lxc list -c ns,user.comment:comment
  Shows the state of each instance and a comment of yours.")
        .flags(&[
            switch("all-projects", "Show the instances of every project"),
            text("columns", "Columns to show").short('c').default("ns46tSL"),
            switch("fast", "Show only what is quick to find out (same as --columns=nsacPt)"),
            FORMAT,
        ]),
    Command::new("move", "[<remote>:]<instance>[/<snapshot>] [<remote>:][<instance>[/<snapshot>]]", 1, 2, "Move or rename an instance, on one server or from one to another")
        .aliases(&["mv"])
        .details(r"With --mode you choose who connects to whom:
 - pull: the target fetches from the source, which must listen on the network (default)
 - push: the source sends to the target, which must listen on the network
 - relay: this client connects to both of them and passes the data on")
        .examples(r"lxc move [<remote>:]<source instance> [<remote>:][<destination instance>] [--instance-only]
    Moves an instance to another server, under a new name where one is given.

lxc move <old name> <new name> [--instance-only]
    Renames an instance.

lxc move <instance>/<old snapshot name> <instance>/<new snapshot name>
    Renames a snapshot.")
        .flags(&[
            switch("allow-inconsistent", "Go on when files change or vanish during the copy"),
            list("config", "Configuration key=value for the moved instance; may be repeated").short('c'),
            list("device", "Device setting name,key=value; may be repeated").short('d'),
            switch("instance-only", "Leave snapshots out"),
            text("mode", "Who connects to whom (pull, push or relay)").default("pull"),
            switch("no-profiles", "Apply no profile"),
            list("profile", "Profile for the instance; may be repeated").short('p'),
            switch("stateless", "Leave the running state out"),
            text("storage", "Storage pool to use").short('s'),
            TARGET,
            text("target-project", "Project to put it into"),
        ]),
    Command::new("pause", "[<remote>:]<instance> [[<remote>:]<instance>...]", 0, ANY, "Freeze running instances")
        .hidden()
        .flags(&[switch("all", "Apply to every instance")]),
    Command::new("publish", "[<remote>:]<instance>[/<snapshot>] [<remote>:] [flags] [key=value...]", 1, ANY, "Make an image from an instance")
        .flags(&[
            list("alias", "Alias for the new image; may be repeated"),
            text("compression", "Compression program, or none").value("none"),
            text("expire", "When the image expires (RFC 3339)"),
            switch("force", "Stop the instance first where it runs").short('f'),
            switch("public", "Let anybody have the image"),
        ]),
    Command::new("rename", "[<remote>:]<instance>[/<snapshot>] <instance>[/<snapshot>]", 2, 2, "Rename an instance or a snapshot"),
    Command::new("restart", "[<remote>:]<instance> [[<remote>:]<instance>...]", 0, ANY, "Restart instances")
        .details(r#"Paused instances are set going again by "lxc start"."#)
        .flags(&[
            switch("all", "Apply to every instance"),
            text("console", "Attach to the console at once").or("console"),
            switch("force", "Stop at once, without a clean shutdown").short('f'),
            signed("timeout", "Seconds to wait for a clean shutdown").default("-1"),
        ]),
    Command::new("restore", "[<remote>:]<instance> <snapshot>", 2, 2, "Take an instance back to a snapshot")
        .details("With --stateful the processes that ran at the time come back too.")
        .examples(r"lxc snapshot u1 snap0
    Takes the snapshot.

lxc restore u1 snap0
    Goes back to it.")
        .flags(&[switch("stateful", "Restore the running state too")]),
    Command::new("snapshot", "[<remote>:]<instance> [<snapshot name>]", 1, 2, "Take a snapshot of an instance")
        .details("With --stateful the running processes are saved with their memory and connections, where that is possible.")
        .examples(r"lxc snapshot u1 snap0
    Takes the snapshot snap0 of u1.")
        .flags(&[
            switch("no-expiry", "Keep the snapshot for ever, whatever the configuration says"),
            switch("reuse", "Replace a snapshot of the same name"),
            switch("stateful", "Save the running state too"),
        ]),
    Command::new("start", "[<remote>:]<instance> [[<remote>:]<instance>...]", 0, ANY, "Start instances")
        .flags(&[
            switch("all", "Apply to every instance"),
            text("console", "Attach to the console at once").or("console"),
            switch("stateless", "Leave a saved running state aside"),
        ]),
    Command::new("stop", "[<remote>:]<instance> [[<remote>:]<instance>...]", 0, ANY, "Stop instances")
        .flags(&[
            switch("all", "Apply to every instance"),
            text("console", "Attach to the console at once").or("console"),
            switch("force", "Stop at once, without a clean shutdown").short('f'),
            switch("stateful", "Save the running state"),
            signed("timeout", "Seconds to wait for a clean shutdown").default("-1"),
        ]),
];
