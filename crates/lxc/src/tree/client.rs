//! Commands about the client itself, and about a server as a whole.

use super::{ANY, Command, FORMAT, list, switch, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("alias", "Manage your own names for commands"),
    Command::new("alias add", "<alias> <target>", 2, 2, "Add an alias").examples(
        r#"lxc alias add list "list -c ns46S"
    From now on "list" shows these columns."#,
    ),
    Command::new("alias list", "", 0, 0, "List your aliases")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("alias remove", "<alias>", 1, 1, "Remove an alias")
        .aliases(&["rm"])
        .examples(
            r#"lxc alias remove my-list
    The alias "my-list" is gone."#,
        ),
    Command::new("alias rename", "<old alias> <new alias>", 2, 2, "Rename an alias")
        .aliases(&["mv"])
        .examples(
            r#"lxc alias rename list my-list
    The alias "list" is called "my-list" now."#,
        ),
    Command::new("manpage", "<target>", 1, 1, "Write manual pages for all commands")
        .hidden()
        .flags(&[text("format", "Format (man|md|rest|yaml)")
            .short('f')
            .default("man")]),
    Command::new("monitor", "[<remote>:]", 0, 1, "Follow the events of a server")
        .hidden()
        .details("Shows events of all kinds where none is given.")
        .examples(
            r"lxc monitor --type=logging
    Shows log messages.

lxc monitor --pretty --type=logging --loglevel=info
    Shows log messages from the level info on, easy to read.

lxc monitor --type=lifecycle
    Shows what happens to instances and other things.",
        )
        .flags(&[
            switch("all-projects", "Follow the events of every project"),
            text("format", "Format (json|pretty|yaml)")
                .short('f')
                .default("yaml"),
            text(
                "loglevel",
                "Lowest level of log messages to show (pretty format only)",
            ),
            switch("pretty", "Same as --format=pretty"),
            list("type", "Kind of events to show; may be repeated"),
        ]),
    Command::group("operation", "Look after background operations"),
    Command::new(
        "operation delete",
        "[<remote>:]<operation>",
        1,
        1,
        "Cancel a background operation",
    )
    .aliases(&["cancel", "rm"]),
    Command::new(
        "operation list",
        "[<remote>:]",
        0,
        1,
        "List the background operations",
    )
    .aliases(&["ls"])
    .flags(&[FORMAT]),
    Command::new(
        "operation show",
        "[<remote>:]<operation>",
        1,
        1,
        "Show a background operation as YAML",
    )
    .examples(
        r"lxc operation show 344a79e4-d88a-45bf-9c39-c72c26f6ab8a
    Shows the operation with that UUID",
    ),
    Command::new(
        "query",
        "[<remote>:]<API path>",
        1,
        1,
        "Send a request to the REST API",
    )
    .hidden()
    .examples(
        r"lxc query -X DELETE --wait /1.0/instances/c1
    Deletes the local instance c1.",
    )
    .flags(&[
        text("data", "Body of the request").short('d'),
        switch("raw", "Print the answer as it came"),
        text("request", "Method of the request").short('X').default("GET"),
        switch("wait", "Wait for the operation to end"),
    ]),
    Command::group("remote", "Manage the servers that you work with"),
    Command::new(
        "remote add",
        "[<remote>] <IP|FQDN|URL|token>",
        1,
        2,
        "Add a server",
    )
    .details(
        r"Remotes are reached by HTTPS.

A simplestreams server may want a user name and a password, which go into the URL:
  lxc remote add some-name https://LOGIN:PASSWORD@example.com/some/path --protocol=simplestreams",
    )
    .flags(&[
        switch(
            "accept-certificate",
            "Trust the server's certificate without asking",
        ),
        text(
            "auth-type",
            "How the server authenticates clients (tls or candid)",
        ),
        text("domain", "Candid domain"),
        text("password", "The server's trust password"),
        text("project", "Project of the remote"),
        text("protocol", "Protocol of the server (lxd or simplestreams)"),
        switch("public", "The server hands out images to anybody"),
    ]),
    Command::new("remote get-default", "", 0, 0, "Print the default remote"),
    Command::new("remote list", "", 0, 0, "List the remotes")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("remote remove", "<remote>", 1, 1, "Remove a remote").aliases(&["rm"]),
    Command::new("remote rename", "<remote> <new-name>", 2, 2, "Rename a remote").aliases(&["mv"]),
    Command::new(
        "remote set-url",
        "<remote> <URL>",
        2,
        2,
        "Change the address of a remote",
    ),
    Command::new("remote switch", "<remote>", 1, 1, "Choose the default remote").aliases(&["set-default"]),
    Command::new(
        "version",
        "[<remote>:]",
        0,
        1,
        "Print the versions of client and server",
    ),
    Command::group("warning", "Look after the server's warnings"),
    Command::new(
        "warning acknowledge",
        "[<remote>:]<warning-uuid>",
        1,
        1,
        "Mark a warning as seen",
    )
    .aliases(&["ack"]),
    Command::new(
        "warning delete",
        "[<remote>:]<warning-uuid>",
        1,
        1,
        "Delete warnings",
    )
    .aliases(&["rm"])
    .flags(&[switch("all", "Delete every warning").short('a')]),
    Command::new("warning list", "[<remote>:]", 0, ANY, "List warnings")
        .aliases(&["ls"])
        .details(
            r"Columns are chosen with -c, as letters with or without commas between them (default: utSscpLl):

    c - Count
    l - Last seen
    L - Location
    f - First seen
    p - Project
    s - Severity
    S - Status
    u - UUID
    t - Type",
        )
        .flags(&[
            switch("all", "Show acknowledged and resolved warnings too").short('a'),
            text("columns", "Columns to show").short('c').default("utSscpLl"),
            FORMAT,
        ]),
    Command::new(
        "warning show",
        "[<remote>:]<warning-uuid>",
        1,
        1,
        "Show a warning as YAML",
    ),
];
