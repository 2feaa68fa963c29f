//! The wire of the LXD REST API: types, endpoint table, envelope.
