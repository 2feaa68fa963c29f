//! Commands about projects.

use super::{ANY, Command, FORMAT, list};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("project", "Manage projects"),
    Command::new("project create", "[<remote>:]<project>", 1, 1, "Create a project")
        .flags(&[
            list("config", "Configuration key=value for the new project; may be repeated").short('c'),
        ]),
    Command::new("project delete", "[<remote>:]<project>", 1, 1, "Delete a project")
        .aliases(&["rm"]),
    Command::new("project edit", "[<remote>:]<project>", 1, 1, "Edit a project as YAML")
        .examples(r"lxc project edit <project> < project.yaml
    Takes the project from project.yaml"),
    Command::new("project get", "[<remote>:]<project> <key>", 2, 2, "Print one configuration value of a project"),
    Command::new("project info", "[<remote>:]<project> <key>", 1, 1, "Show how much of its limits a project uses")
        .flags(&[FORMAT]),
    Command::new("project list", "[<remote>:]", 0, 1, "List the projects")
        .aliases(&["ls"])
        .flags(&[FORMAT]),
    Command::new("project rename", "[<remote>:]<project> <new-name>", 2, 2, "Rename a project")
        .aliases(&["mv"]),
    Command::new("project set", "[<remote>:]<project> <key>=<value>...", 2, ANY, "Set configuration values of a project")
        .details("One key may also be given the old way, as two words: lxc project set [<remote>:]<project> <key> <value>"),
    Command::new("project show", "[<remote>:]<project>", 1, 1, "Show a project as YAML"),
    Command::new("project switch", "[<remote>:]<project>", 1, 1, "Choose the project that commands work in"),
    Command::new("project unset", "[<remote>:]<project> <key>", 2, 2, "Remove one configuration value of a project"),
];
