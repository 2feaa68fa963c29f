//! Mounts by file descriptor: bind, idmapped, overlay, tmpfs.
