//! How servers give each other volumes and instances: two websockets, one for headers and the outcome, one for the data.
//!
//! The side that has the data offers a form and says which snapshots there are; the other one answers with what it wants of
//! that. Then a description goes over, and the data of each wanted snapshot and of the volume itself. At the end the
//! receiver says whether it has worked. Messages are LXD 5.0's, so that either side may be one.

mod description;
mod header;
mod lines;
mod protobuf;
mod session;

pub(crate) use description::{Answer, Described, Info};
pub(crate) use header::{Control, Device, Entry, Form, Header, Ids, NO_MEMORY, Offer, Snapshot};
pub(crate) use lines::{Data, Ends, Line};
pub(crate) use session::{Held, cancelled_by, is_listening, unless_told, with_secrets};

/// The names of the two websockets in an operation's metadata.
pub(crate) const NAMES: [&str; 2] = ["control", "fs"];
