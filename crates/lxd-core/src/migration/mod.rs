//! How servers give each other volumes: two websockets, one for headers and the outcome, one for the data.
//!
//! The side that has the data offers a form and says which snapshots there are; the other one answers with what it wants of
//! that. Then a description goes over, and the data of each wanted snapshot and of the volume itself. At the end the
//! receiver says whether it has worked. Messages are LXD 5.0's, so that either side may be one.

mod header;
mod lines;
mod protobuf;

pub(crate) use header::{Control, Entry, Form, Header, Offer, Snapshot};
pub(crate) use lines::{Data, Ends, Line};

/// The names of the two websockets in an operation's metadata.
pub(crate) const NAMES: [&str; 2] = ["control", "fs"];
