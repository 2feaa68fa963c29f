//! Linux behind traits: processes, mounts, namespaces, cgroups, netlink, nft, sysfs.
