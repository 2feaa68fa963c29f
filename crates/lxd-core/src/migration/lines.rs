//! The two websockets between two servers, whoever has connected to whom.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use lxd_client::{Message as Frame, WebSocketError, broken_websocket};
use lxd_storage::Rsync;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use super::{Control, NAMES, protobuf};
use crate::app::App;
use crate::error::{Context as _, Error, Result};
use crate::operations::{Message, Operation, Socket};

/// How long the other side may take to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// No description is larger.
const LONGEST: usize = 64 << 20;

/// No header is larger.
const LONGEST_HEADER: usize = 4 << 20;

/// A description goes over in messages of this size: servers take no longer ones than some MiB.
const LONGEST_PIECE: usize = 1 << 20;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Both websockets.
pub(crate) struct Ends {
    /// For headers and the outcome.
    pub(crate) control: Line,
    /// For the data.
    pub(crate) data: Data,
}

impl Ends {
    /// Waits until the other side has connected to the operation here.
    ///
    /// # Errors
    /// It did not within half a minute.
    pub(crate) async fn accept(operation: &Operation) -> Result<Self> {
        let [control, data] = NAMES.map(|name| operation.sockets().take(name));
        let both = tokio::time::timeout(PATIENCE, async { tokio::try_join!(control, data) });
        let (control, data) = both
            .await
            .map_err(|_| Error::bad_request("Timed out waiting for connections"))??;
        Ok(Self {
            control: control.into(),
            data: Data(data.into()),
        })
    }

    /// Connects to the operation of the other side, whose URL has its server in it.
    ///
    /// # Errors
    /// The URL or the certificate can't be used; the server can't be reached, or does not take the secrets.
    pub(crate) async fn connect(
        app: &App,
        (url, certificate): (&str, &str),
        secrets: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let (server, path) = url
            .split_once("/1.0/")
            .filter(|(server, _)| server.starts_with("https://"))
            .ok_or_else(|| Error::bad_request(format!("Invalid operation URL {url:?}")))?;
        let client = crate::images::server(app, server, certificate).await?;
        let dial = async |name: &str| {
            let secret = secrets
                .get(name)
                .ok_or_else(|| Error::bad_request(format!("Missing secret {name:?}")))?;
            let path = format!("/1.0/{path}/websocket?secret={secret}");
            let socket = tokio::time::timeout(PATIENCE, client.websocket(&path)).await;
            let socket = socket.map_err(|_| Error::refused(format!("Timed out connecting to {server}")))?;
            let socket = socket.with_context(|| format!("Failed connecting to {server}"))?;
            let (sender, receiver) = socket.split();
            Ok::<_, Error>(Line::from(Socket {
                receiver: Box::pin(receiver.filter_map(|frame| async { incoming(frame).transpose() })),
                sender: Box::pin(
                    sender
                        .sink_map_err(io::Error::other)
                        .with(|message| async { Ok::<_, io::Error>(outgoing(message)) }),
                ),
            }))
        };
        let [control, data] = NAMES;
        Ok(Self {
            control: dial(control).await?,
            data: Data(dial(data).await?),
        })
    }

    /// Tells the other side how it has ended here.
    pub(crate) async fn conclude(&mut self, outcome: &Result<()>) {
        let control = Control {
            success: outcome.is_ok(),
            message: Some(outcome.as_ref().err().map(Error::text).unwrap_or_default()),
        };
        // Who has gone does not want to know.
        let _ = self.control.send(&control).await;
        let _ = self.control.say(Message::Close).await;
        let _ = self.data.0.say(Message::Close).await;
    }
}

fn incoming(frame: std::result::Result<Frame, WebSocketError>) -> io::Result<Option<Message>> {
    let broken = |error| io::Error::other(broken_websocket(&error));
    Ok(match frame.map_err(broken)? {
        Frame::Text(text) => Some(Message::Text(text.as_str().to_owned())),
        Frame::Binary(data) => Some(Message::Binary(data)),
        Frame::Close(_) => Some(Message::Close),
        _ => None,
    })
}

fn outgoing(message: Message) -> Frame {
    match message {
        Message::Text(text) => Frame::text(text),
        Message::Binary(data) => Frame::Binary(data),
        Message::Close => Frame::Close(None),
    }
}

/// One websocket.
pub(crate) struct Line {
    socket: Socket,
    /// Whether sending has failed: such a sink must not be used again.
    is_dead: bool,
}

impl From<Socket> for Line {
    fn from(socket: Socket) -> Self {
        Self {
            socket,
            is_dead: false,
        }
    }
}

impl Line {
    /// Sends a message.
    ///
    /// # Errors
    /// The other side has gone.
    pub(crate) async fn send(&mut self, message: &impl protobuf::Message) -> Result<()> {
        self.write(message.encode().into()).await
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// The other side has gone, or says something else.
    pub(crate) async fn receive<T: protobuf::Message>(&mut self) -> Result<T> {
        match self.next().await? {
            Message::Binary(bytes) if bytes.len() > LONGEST_HEADER => {
                Err(Error::refused("The other server's header is too long"))
            }
            Message::Binary(bytes) => {
                T::decode(&bytes).ok_or_else(|| Error::refused("The other server is not understood"))
            }
            Message::Text(_) | Message::Close => Err(gone()),
        }
    }

    /// Waits for a message that the other side has at hand.
    ///
    /// # Errors
    /// As [`Line::receive`]; it says nothing for half a minute.
    pub(crate) async fn receive_soon<T: protobuf::Message>(&mut self) -> Result<T> {
        soon(self.receive()).await
    }

    /// Waits for what the other side says at its end. Before its reason stands what has failed.
    ///
    /// # Errors
    /// It has failed, or has gone without a word.
    pub(crate) async fn outcome(&mut self, doing: &str) -> Result<()> {
        let control: Control = self.receive().await?;
        if control.success {
            return Ok(());
        }
        let message = control.message.unwrap_or_default();
        Err(Error::refused(format!("{doing}{message}")))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.say(Message::Binary(bytes)).await
    }

    async fn say(&mut self, message: Message) -> Result<()> {
        say(&mut self.socket.sender, &mut self.is_dead, message).await
    }

    async fn next(&mut self) -> Result<Message> {
        match self.socket.receiver.next().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(gone().because(error)),
            None => Err(gone()),
        }
    }
}

async fn say(
    sender: &mut (impl futures::Sink<Message, Error = io::Error> + Unpin),
    is_dead: &mut bool,
    message: Message,
) -> Result<()> {
    if *is_dead {
        return Err(gone());
    }
    let sent = sender.send(message).await;
    *is_dead = sent.is_err();
    sent.map_err(|error| gone().because(error))
}

/// Waits no longer than for a connection: what holds a volume must not hold it for somebody silent.
async fn soon<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::refused("Timed out waiting for the other server");
    tokio::time::timeout(PATIENCE, what)
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn gone() -> Error {
    Error::refused("The other server has closed the connection")
}

/// The websocket for data: parts of any length, each with an empty text at its end.
pub(crate) struct Data(Line);

impl Data {
    /// Sends a description.
    ///
    /// # Errors
    /// The other side has gone.
    pub(crate) async fn send_json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::internal("Failed to write JSON").because(error))?;
        let mut text = Bytes::from(text);
        while !text.is_empty() {
            let piece = text.split_to(text.len().min(LONGEST_PIECE));
            self.0.write(piece).await?;
        }
        self.end().await
    }

    /// Waits for a description.
    ///
    /// # Errors
    /// The other side has gone, or says something else.
    pub(crate) async fn receive_json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut text = BytesMut::new();
        while let Some(bytes) = soon(self.part()).await? {
            if text.len() + bytes.len() > LONGEST {
                return Err(Error::refused("The other server's description is too long"));
            }
            text.extend_from_slice(&bytes);
        }
        serde_json::from_slice(&text).map_err(|error| {
            Error::refused("The other server's description is not understood").because(error)
        })
    }

    /// Says that a part is complete.
    ///
    /// # Errors
    /// The other side has gone.
    pub(crate) async fn end(&mut self) -> Result<()> {
        self.0.say(Message::Text(String::new())).await
    }

    /// More of the present part; none at its end.
    ///
    /// # Errors
    /// The other side has gone.
    pub(crate) async fn part(&mut self) -> Result<Option<Bytes>> {
        match self.0.next().await? {
            Message::Binary(bytes) => Ok(Some(bytes)),
            Message::Text(_) => Ok(None),
            Message::Close => Err(gone()),
        }
    }

    /// Sends all of a file as one part.
    ///
    /// # Errors
    /// The file can't be read; the other side has gone.
    pub(crate) async fn send_file(&mut self, file: std::fs::File, mut tell: impl FnMut(u64)) -> Result<()> {
        let mut file = tokio::fs::File::from_std(file);
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let count = file
                .read_buf(&mut chunk)
                .await
                .map_err(|error| Error::internal("Failed to read a block volume").because(error))?;
            if count == 0 {
                return self.end().await;
            }
            tell(count as u64);
            self.0.write(chunk.freeze()).await?;
        }
    }

    /// Connects a process with the other side's, until both have ended.
    ///
    /// # Errors
    /// The process failed; the other side has gone.
    pub(crate) async fn join(&mut self, mut rsync: Rsync, tell: impl FnMut(u64)) -> Result<()> {
        let (input, output, complaints) = rsync
            .ends()
            .ok_or_else(|| Error::internal("The process has no streams"))?;
        let broken = |error: io::Error| Error::internal("Failed to talk to rsync").because(error);
        let input = pipe::Sender::from_owned_fd(input).map_err(broken)?;
        let output = pipe::Receiver::from_owned_fd(output).map_err(broken)?;
        let mut complaints = pipe::Receiver::from_owned_fd(complaints).map_err(broken)?;
        let mut said = String::new();
        let Line { socket, is_dead } = &mut self.0;
        let Socket { receiver, sender } = socket;
        let listening = async {
            let mut bytes = Vec::new();
            let _ = (&mut complaints).take(CHUNK as u64).read_to_end(&mut bytes).await;
            // A process that nobody listens to any more would wait for ever.
            let _ = tokio::io::copy(&mut complaints, &mut tokio::io::sink()).await;
            said = String::from_utf8_lossy(&bytes).into_owned();
        };
        let (heard, spoken, ()) = tokio::join!(
            hear(receiver, input),
            speak(output, (sender, is_dead), tell),
            listening
        );
        // What the process says of itself tells more than that the line went dead.
        rsync.finish(&said).await?;
        heard.and(spoken)
    }
}

/// Gives the process what the other side sends, to the end of the part even if nobody reads it any more.
async fn hear(
    receiver: &mut (impl futures::Stream<Item = io::Result<Message>> + Unpin),
    input: pipe::Sender,
) -> Result<()> {
    let mut input = Some(input);
    loop {
        match receiver.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                if let Some(pipe) = &mut input
                    && pipe.write_all(&bytes).await.is_err()
                {
                    input = None;
                }
            }
            Some(Ok(Message::Text(_))) => return Ok(()),
            Some(Ok(Message::Close)) | None => return Err(gone()),
            Some(Err(error)) => return Err(gone().because(error)),
        }
    }
}

/// Sends what the process writes.
async fn speak(
    mut output: pipe::Receiver,
    (sender, is_dead): (
        &mut (impl futures::Sink<Message, Error = io::Error> + Unpin),
        &mut bool,
    ),
    mut tell: impl FnMut(u64),
) -> Result<()> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let count = output.read_buf(&mut chunk).await.unwrap_or(0);
        let message = if count == 0 {
            Message::Text(String::new())
        } else {
            tell(count as u64);
            Message::Binary(chunk.freeze())
        };
        say(sender, is_dead, message).await?;
        if count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
impl Ends {
    /// Two sides that are connected with each other.
    pub(crate) fn pair() -> (Self, Self) {
        let ((a, b), (c, d)) = (sockets(), sockets());
        let ends = |control: Socket, data: Socket| Self {
            control: Line::from(control),
            data: Data(data.into()),
        };
        (ends(a, c), ends(b, d))
    }
}

#[cfg(test)]
fn sockets() -> (Socket, Socket) {
    let ((to_a, from_b), (to_b, from_a)) = (
        futures::channel::mpsc::channel(4),
        futures::channel::mpsc::channel(4),
    );
    let socket = |sender: futures::channel::mpsc::Sender<Message>,
                  receiver: futures::channel::mpsc::Receiver<Message>| Socket {
        receiver: Box::pin(receiver.map(Ok)),
        sender: Box::pin(sender.sink_map_err(io::Error::other)),
    };
    (socket(to_a, from_a), socket(to_b, from_b))
}
