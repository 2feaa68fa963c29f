//! Every command of `lxd`, declared once: the parser, the help and the reference come from here.

use super::Invocation;
use crate::commands::{
    activateifneeded, generate, init, not_yet, recover, shutdown, sql, version, waitready,
};

/// A command.
pub(crate) struct Command {
    /// The word.
    pub(crate) name: &'static str,
    /// What follows the word, in the usage line.
    pub(crate) arguments: &'static str,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    /// What it does, in more lines; follows `about`.
    pub(crate) details: &'static str,
    /// Examples of use.
    pub(crate) examples: &'static str,
    /// The flags of its own.
    pub(crate) flags: &'static [Flag],
    /// The commands below it.
    pub(crate) children: &'static [Command],
    /// Whether lists leave it out.
    pub(crate) is_hidden: bool,
    /// Does it.
    pub(crate) run: fn(&Invocation) -> Result<(), String>,
}

/// A flag.
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) about: &'static str,
    /// The value that it has when it is not given, where help shows it.
    pub(crate) default: &'static str,
    pub(crate) value: Value,
}

/// What follows a flag.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    None,
    Text,
    Number,
}

impl Command {
    /// What it does, at length.
    pub(crate) fn description(&self) -> &'static str {
        if self.details.is_empty() {
            self.about
        } else {
            self.details
        }
    }
}

/// The command that words name, after those above it; unknown words name the last one that is known.
pub(super) fn find(words: &[String]) -> Vec<&'static Command> {
    let mut path = vec![&ROOT];
    for word in words {
        let Some(child) = path[path.len() - 1]
            .children
            .iter()
            .find(|child| child.name == word)
        else {
            return if path.len() == 1 { vec![&ROOT] } else { path };
        };
        path.push(child);
    }
    path
}

const fn flag(long: &'static str, about: &'static str) -> Flag {
    Flag {
        short: None,
        long,
        about,
        default: "",
        value: Value::None,
    }
}

const fn text(long: &'static str, about: &'static str) -> Flag {
    Flag {
        value: Value::Text,
        ..flag(long, about)
    }
}

const fn number(long: &'static str, about: &'static str, default: &'static str) -> Flag {
    Flag {
        value: Value::Number,
        default,
        ..flag(long, about)
    }
}

const fn short(short: char, flag: Flag) -> Flag {
    Flag {
        short: Some(short),
        ..flag
    }
}

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&Invocation) -> Result<(), String>,
) -> Command {
    Command {
        name,
        arguments: "",
        about,
        details: "",
        examples: "",
        flags: &[],
        children: &[],
        is_hidden: false,
        run,
    }
}

const fn hidden(name: &'static str, about: &'static str) -> Command {
    Command {
        is_hidden: true,
        ..command(name, about, not_yet::run)
    }
}

/// The flags of every command.
pub(super) const GLOBAL: &[Flag] = &[
    short('d', flag("debug", "Log everything")),
    short('h', flag("help", "Show this help")),
    text("logfile", "File that the log goes to"),
    flag("syslog", "Send the log to syslog"),
    text("trace", "Parts of the log to trace"),
    short('v', flag("verbose", "Log information too")),
    flag("version", "Show the version number"),
];

/// The daemon itself, and all commands below it.
pub(crate) static ROOT: Command = Command {
    details: "\
The daemon that manages system containers and virtual machines.

Without a command it runs in the foreground until it is told to stop, which is the business of the init
system. Users work with it through `lxc`.

The commands below are for the administrator of this host: they do what the REST API can't.",
    flags: &[text("group", "Group whose members may use the unix socket")],
    children: CHILDREN,
    ..command(
        "lxd",
        "The daemon that manages containers and virtual machines",
        not_yet::run,
    )
};

const CHILDREN: &[Command] = &[
    Command {
        details: "\
Starts the daemon through socket activation if there is something for it to do.

That is so when it listens on the network, when instances start by themselves or ran when it was last
stopped, and when snapshots are scheduled. The databases are read where they are; the daemon itself need
not run.",
        ..command(
            "activateifneeded",
            "Start the daemon if there is work for it",
            activateifneeded::run,
        )
    },
    Command {
        children: CLUSTER,
        ..command("cluster", "Repair a cluster's database by hand", not_yet::help)
    },
    command("import", "Replaced by \"lxd recover\"", not_yet::import),
    Command {
        flags: INIT,
        examples: INIT_EXAMPLES,
        ..command("init", "Set the server up for first use", init::run)
    },
    Command {
        details: "\
Brings back instances and volumes that storage pools hold but the database does not know.

It asks for pools that the database does not know either, looks into all of them, says what it found, and
makes the missing records.",
        ..command(
            "recover",
            "Bring back instances and volumes from storage pools",
            recover::run,
        )
    },
    Command {
        details: "\
Stops all instances, then the daemon, and waits for both.

Instances are asked to shut down and killed when they don't in time, which may take as long as
`boot.host_shutdown_timeout` says.",
        flags: &[
            short('f', flag("force", "Don't wait for operations that are running")),
            short('t', number("timeout", "Seconds to wait before giving up", "")),
        ],
        ..command("shutdown", "Stop all instances and the daemon", shutdown::run)
    },
    command("version", "Show the version of the server", version::run),
    Command {
        details: "\
Waits until the daemon is ready: it answers on its socket and has done the work of its start, such as
starting the instances that start by themselves.",
        flags: &[short(
            't',
            number("timeout", "Seconds to wait before giving up", ""),
        )],
        ..command("waitready", "Wait until the daemon is ready", waitready::run)
    },
    Command {
        arguments: "<local|global> <query>",
        details: "\
Runs SQL in one of the daemon's databases, for repairs.

The local database belongs to this server alone: its network address, the members it knows. The global one
is shared by all members of a cluster: instances, profiles, everything else. A server that is not clustered
has both too.

The query \"-\" is read from standard input. \".dump\" prints the whole database as SQL, \".schema\" the
empty tables alone, and \".sync\" writes the global database to the file database/global/db.bin.",
        is_hidden: true,
        ..command("sql", "Run SQL in a database of the daemon", sql::run)
    },
    Command {
        arguments: "<what>",
        is_hidden: true,
        ..command("generate", "Print a generated file of the project", generate::run)
    },
    hidden("callhook", "Tell the daemon about an event of a container"),
    hidden("forkconsole", "Attach to the console of a container"),
    hidden("forkcoresched", "Set the core scheduling domain of processes"),
    hidden("forkdns", "Answer DNS queries of other cluster members"),
    hidden("forkexec", "Run a command in a container"),
    hidden("forkfile", "Access files in a container"),
    hidden("forklimits", "Run a command under limits"),
    hidden("forkmigrate", "Restore a container from a checkpoint"),
    hidden("forkmount", "Mount or unmount inside a container"),
    hidden("forknet", "Configure the network inside a container"),
    hidden("forkproxy", "Forward connections between host and container"),
    hidden("forkstart", "Start a container"),
    hidden("forksyscall", "Run a system call in a container's stead"),
    hidden("forkuevent", "Send a uevent into a container"),
    hidden("forkzfs", "Run a ZFS command in a mount namespace of its own"),
    hidden("manpage", "Write manual pages"),
    hidden(
        "migratedumpsuccess",
        "Tell the daemon that a checkpoint was written",
    ),
    hidden("netcat", "Send standard input to a unix socket"),
];

const CLUSTER: &[Command] = &[
    command("edit", "Change the members of the cluster as YAML", not_yet::run),
    command(
        "list-database",
        "Show the addresses of the members that hold the database",
        not_yet::run,
    ),
    Command {
        flags: QUIET,
        ..command(
            "recover-from-quorum-loss",
            "Make this member the only one that holds the database",
            not_yet::run,
        )
    },
    Command {
        arguments: "<address>",
        flags: QUIET,
        ..command(
            "remove-raft-node",
            "Take a member out of the database's configuration",
            not_yet::run,
        )
    },
    command("show", "Show the members of the cluster as YAML", not_yet::run),
];

const QUIET: &[Flag] = &[short('q', flag("quiet", "Ask no questions"))];

const INIT: &[Flag] = &[
    flag("auto", "Ask no questions, use the defaults and the flags below"),
    flag("dump", "Print the present configuration as YAML"),
    flag("minimal", "Ask no questions, use the defaults"),
    text("network-address", "Address to listen on (default: none)"),
    number("network-port", "Port to listen on (default: 8443)", "-1"),
    flag("preseed", "Read the configuration as YAML from standard input"),
    text(
        "storage-backend",
        "Driver of the storage pool (overlay or dir, default: overlay)",
    ),
    text(
        "storage-create-device",
        "Block device to make the storage pool on",
    ),
    number(
        "storage-create-loop",
        "Make the storage pool in a file of this many GiB",
        "-1",
    ),
    text("storage-pool", "Name of the storage pool to use or make"),
    text("trust-password", "Password that lets new clients in"),
];

const INIT_EXAMPLES: &str = "\
init --minimal
init --auto [--network-address=IP] [--network-port=8443] [--storage-backend=overlay]
            [--storage-create-device=DEVICE] [--storage-create-loop=SIZE]
            [--storage-pool=POOL] [--trust-password=PASSWORD]
init --preseed
init --dump";
