//! User namespaces with a map, for idmapped mounts.
