//! dqlite: the node of the C library, and an async client of its wire protocol.
