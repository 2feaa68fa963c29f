//! dqlite: the node of the C library, and an async client of its wire protocol.
//!
//! dqlite replicates an SQLite database over Raft. [`Node`] runs one member inside this process, through the
//! distribution's `libdqlite`; [`Connection`] talks to a member over its unix socket.
//!
//! ```no_run
//! # async fn example() -> Result<(), dqlite::Error> {
//! let node = dqlite::Node::start(dqlite::NodeConfig::standalone("/var/lib/lxd/database/global")).await?;
//! let mut connection = node.connect("db.bin").await?;
//! connection.execute("CREATE TABLE t (n INTEGER)", &[]).await?;
//! for row in connection.query("SELECT n FROM t", &[]).await?.iter() {
//!     println!("{}", row.get::<i64>(0)?);
//! }
//! # Ok(()) }
//! ```

mod connection;
mod error;
mod ffi;
pub mod memory;
mod node;
mod row;
mod value;
pub mod wire;

pub use connection::{Connection, Executed, Member};
pub use error::{Error, code};
pub use node::{Dial, Node, NodeConfig, Role, SnapshotParams, generate_id, library_version};
pub use row::{Row, Rows};
pub use value::{FromValue, Value};
pub use wire::DecodeError;
