//! Commands about images.

use super::{ANY, Command, FORMAT, list, switch, text};

/// The commands, each after the group that it belongs to.
pub(super) static COMMANDS: &[Command] = &[
    Command::group("image", "Manage images")
        .details(r"Instances are made from images, and images come from image servers, from files or from instances.

Images that were fetched for an instance stay cached for a while.

An image is named by its fingerprint, by the first digits of it as long as no other image has the same, or by an alias.
The fingerprint is the SHA-256 hash of the image's file, or of its metadata file followed by its rootfs file."),
    Command::group("image alias", "Manage the aliases of images"),
    Command::new("image alias create", "[<remote>:]<alias> <fingerprint>", 2, 2, "Give an alias to an image"),
    Command::new("image alias delete", "[<remote>:]<alias>", 1, 1, "Delete an image alias")
        .aliases(&["rm"]),
    Command::new("image alias list", "[<remote>:] [<filters>...]", 0, ANY, "List the image aliases")
        .aliases(&["ls"])
        .details("A filter is a part of an alias or of a fingerprint.")
        .flags(&[FORMAT]),
    Command::new("image alias rename", "[<remote>:]<alias> <new-name>", 2, 2, "Rename an image alias")
        .aliases(&["mv"]),
    Command::new("image copy", "[<remote>:]<image> <remote>:", 2, 2, "Copy an image from one server to another")
        .aliases(&["cp"])
        .details("With --auto-update the server looks for newer versions later on; the source must be a public alias then.")
        .flags(&[
            list("alias", "Alias for the new image; may be repeated"),
            switch("auto-update", "Fetch newer versions of the image later on"),
            switch("copy-aliases", "Give the copy the aliases of the original"),
            text("mode", "Who connects to whom (pull, push or relay)").default("pull"),
            switch("public", "Let anybody have the image"),
            text("target-project", "Project to put it into"),
            switch("vm", "Look for virtual machine images"),
        ]),
    Command::new("image delete", "[<remote>:]<image> [[<remote>:]<image>...]", 1, ANY, "Delete images")
        .aliases(&["rm"]),
    Command::new("image edit", "[<remote>:]<image>", 1, 1, "Edit an image as YAML")
        .examples(r"lxc image edit <image>
    Opens the image in a text editor

lxc image edit <image> < image.yaml
    Takes it from image.yaml"),
    Command::new("image export", "[<remote>:]<image> [<target>]", 1, 2, "Save an image as files")
        .details("The files go into the current folder where no target is given.")
        .flags(&[switch("vm", "Look for virtual machine images")]),
    Command::new("image get-property", "[<remote>:]<image> <key>", 2, 2, "Print one property of an image"),
    Command::new("image import", "<tarball>|<directory>|<URL> [<rootfs tarball>] [<remote>:] [key=value...]", 1, ANY, "Import an image from files or from a URL")
        .details("A folder can only be imported by root on Linux.")
        .flags(&[
            list("alias", "Alias for the new image; may be repeated"),
            switch("public", "Let anybody have the image"),
        ]),
    Command::new("image info", "[<remote>:]<image>", 1, 1, "Describe an image")
        .flags(&[switch("vm", "Look for virtual machine images")]),
    Command::new("image list", "[<remote>:] [<filter>...]", 0, ANY, "List images")
        .aliases(&["ls"])
        .details(r"A filter is key=value, which is compared with the image's properties, or a part of an alias or fingerprint.

Columns are chosen with -c, as letters with or without commas between them (default: lfpdasu):

    l - Shortest alias, and how many more there are
    L - All aliases, one a line
    f - Fingerprint (short)
    F - Fingerprint (long)
    p - Whether the image is public
    d - Description
    a - Architecture
    s - Size
    u - Upload date
    t - Type")
        .flags(&[text("columns", "Columns to show").short('c').default("lfpdatsu"), FORMAT]),
    Command::new("image refresh", "[<remote>:]<image> [[<remote>:]<image>...]", 1, ANY, "Fetch newer versions of images"),
    Command::new("image set-property", "[<remote>:]<image> <key> <value>", 3, 3, "Set a property of an image"),
    Command::new("image show", "[<remote>:]<image>", 1, 1, "Show an image as YAML")
        .flags(&[switch("vm", "Look for virtual machine images")]),
    Command::new("image unset-property", "[<remote>:]<image> <key>", 2, 2, "Remove a property of an image"),
];
