//! The websockets of an operation: a secret each, handed to whoever connects with it, once.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::{Sink, Stream};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::etag::hex;

/// A message on a websocket. Pings and pongs are the edge's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text; an empty one marks the end of a direction of an exec or migration stream.
    Text(String),
    /// Data.
    Binary(Bytes),
    /// The end.
    Close,
}

/// A connected websocket, as the edge hands it over.
pub struct Socket {
    /// What the client sends; ends when the connection does.
    pub receiver: Pin<Box<dyn Stream<Item = io::Result<Message>> + Send>>,
    /// What goes to the client.
    pub sender: Pin<Box<dyn Sink<Message, Error = io::Error> + Send>>,
}

struct Slot {
    secret: String,
    /// Taken by the connection.
    sender: Mutex<Option<oneshot::Sender<Socket>>>,
    /// Taken by the work.
    receiver: Mutex<Option<oneshot::Receiver<Socket>>>,
}

/// The named websockets of one operation.
#[derive(Default)]
pub struct Sockets {
    slots: BTreeMap<String, Slot>,
}

impl Sockets {
    /// Makes a secret of 64 hexadecimal digits for each name (`0`, `control`, `fs`, ...).
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let slot = |name: N| {
            let (sender, receiver) = oneshot::channel();
            let slot = Slot {
                secret: secret(),
                sender: Mutex::new(Some(sender)),
                receiver: Mutex::new(Some(receiver)),
            };
            (name.into(), slot)
        };
        Self {
            slots: names.into_iter().map(slot).collect(),
        }
    }

    /// The secret of each name, as the operation's metadata shows them (exec: below `fds`).
    pub fn secrets(&self) -> BTreeMap<String, String> {
        self.slots
            .iter()
            .map(|(name, slot)| (name.clone(), slot.secret.clone()))
            .collect()
    }

    /// Waits for a client on a name. Each can be taken once.
    ///
    /// # Errors
    /// The name is unknown or taken, or the client's connection failed before it was up.
    pub async fn take(&self, name: &str) -> Result<Socket> {
        let receiver = self.slots.get(name).and_then(|slot| slot.receiver.lock().take());
        let receiver =
            receiver.ok_or_else(|| Error::internal(format!("Websocket {name:?} is not there to take")))?;
        receiver
            .await
            .map_err(|_| Error::internal(format!("Websocket {name:?} failed to connect")))
    }

    /// Redeems a secret.
    ///
    /// # Errors
    /// The secret is wrong or has been used.
    pub(super) fn redeem(&self, secret: &str) -> Result<Ticket> {
        let slot = self
            .slots
            .values()
            .find(|slot| slot.secret.as_bytes().ct_eq(secret.as_bytes()).into());
        let sender = slot.and_then(|slot| slot.sender.lock().take());
        sender
            .map(|sender| Ticket { sender })
            .ok_or_else(|| Error::forbidden("not authorized"))
    }
}

/// The right to attach one websocket, given by [`super::Operations::connect`] before the upgrade.
pub struct Ticket {
    sender: oneshot::Sender<Socket>,
}

impl Ticket {
    /// Hands the upgraded connection to the operation. It is closed if the operation no longer waits.
    pub fn attach(self, socket: Socket) {
        drop(self.sender.send(socket));
    }
}

/// A new secret: 32 random bytes in hexadecimal.
pub fn secret() -> String {
    let mut bytes = [0; 32];
    fill_random(&mut bytes);
    hex(&bytes)
}

/// Fills a buffer from the kernel's generator.
pub(crate) fn fill_random(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            #[expect(
                clippy::panic,
                reason = "without randomness no secret is one, and the kernel always has it"
            )]
            Err(error) => panic!("the kernel gave no random bytes: {error}"),
        }
    }
}
