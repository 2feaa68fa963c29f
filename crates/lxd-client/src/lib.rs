//! A client of the LXD REST API: transports, operations, websockets.
