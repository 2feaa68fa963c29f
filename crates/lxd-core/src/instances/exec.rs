//! Running programs in instances.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use lxd_api::instance_exec::InstanceExecPost;
use lxd_instance::exec::{Control, Ends, Exec, ExecRequest, Exit, Held, Streams, Terminal, environment};
use lxd_instance::lifecycle::{Request, decide};
use lxd_instance::{Error as InstanceError, Instance, Key};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::record::Record;
use crate::app::{App, blocking};
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, Message, Operation, Options, Socket, Sockets};

const NO_PROCESS: &str = "Failed to retrieve PID of executing child process";

/// How long a client may take to connect its websockets.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long more output is waited for after the program's end, if others keep its terminal open.
const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// Bytes that a program may have left in its terminal.
const LAST_BYTES: usize = 1 << 20;

/// Bytes that are read, and sent, at once.
const CHUNK: usize = 128 << 10;

/// The longest message. The reference's client gathers each one in memory that it enlarges step by step: long ones take it a third more
/// time than those that end, with their header, with a page.
const MESSAGE: usize = 4096 - 4;

/// The name of the websocket for signals and sizes.
pub(super) const CONTROL: &str = "control";

/// Runs a program in an instance, as an operation: of class websocket with its streams, or of class task.
///
/// # Errors
/// Not found; it does not run, or is frozen; the caller may not.
pub async fn exec(app: &Arc<App>, ctx: &Ctx, name: &str, post: InstanceExecPost) -> Result<Operation> {
    ctx.require_project()?;
    let key = Key::new(&ctx.project, name);
    // What runs is known without a look into the database; it says more about what does not.
    let instance = match app.instances.registry.instance_for_exec(&key) {
        Some(instance) => instance,
        None => {
            let mut tx = app.cluster.read().await?;
            let record = Record::load(&mut tx, &key.project, &key.name).await?;
            decide(app.instances.registry.phase(&key), Request::Exec).map_err(InstanceError::from)?;
            Arc::new(record.instance(app)?)
        }
    };
    let options = options(&post, &instance).resource("instances", name);
    let app = Arc::clone(app);
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let run = Run {
            app: &app,
            key: &key,
            post: &post,
            operation: &operation,
        };
        if post.command.is_empty() {
            return Err(Error::bad_request(NO_PROCESS));
        }
        if post.wait_for_websocket {
            run.with_websockets(&instance).await
        } else {
            run.alone(&instance).await
        }
    })
}

fn options(post: &InstanceExecPost, instance: &Instance) -> Options {
    if !post.wait_for_websocket {
        return Options::task(Kind::CommandExec);
    }
    let sockets = Sockets::new(if post.interactive {
        vec!["0", CONTROL]
    } else {
        vec!["0", "1", "2", CONTROL]
    });
    let mut all = environment(instance, post.user, false);
    all.extend(post.environment.clone());
    let fds = json!(sockets.secrets());
    Options::websocket(Kind::CommandExec, sockets)
        .metadata("command", json!(post.command))
        .metadata("environment", json!(all))
        .metadata("fds", fds)
        .metadata("interactive", post.interactive)
}

/// One run of a program.
struct Run<'a> {
    app: &'a Arc<App>,
    key: &'a Key,
    post: &'a InstanceExecPost,
    operation: &'a Operation,
}

impl Run<'_> {
    async fn hold(&self, streams: Streams) -> Result<Held> {
        let post = self.post;
        let request = ExecRequest {
            command: post.command.clone(),
            environment: post.environment.clone(),
            uid: post.user,
            gid: post.group,
            cwd: post.cwd.clone(),
            streams,
        };
        let held = self.app.instances.registry.exec(self.key, request).await;
        held.map_err(|error| match error {
            InstanceError::Exec(reason) => {
                tracing::warn!(instance = %self.key, reason, "Failed to make a process in the instance");
                self.no_process()
            }
            other => other.into(),
        })
    }

    /// What clients are told where there is no process for the program; they exit with 255.
    fn no_process(&self) -> Error {
        self.operation.set_metadata("return", -1);
        Error::bad_request(NO_PROCESS)
    }

    async fn begin(&self, held: Held) -> Exec {
        let started = held.begin().await;
        let url = super::url(&self.key.project, &self.key.name);
        let event = Lifecycle::new(Action::InstanceExec, url).with("command", json!(self.post.command));
        self.app.events.lifecycle(&self.key.project, &event);
        started
    }

    async fn start(&self, streams: Streams) -> Result<Exec> {
        Ok(self.begin(self.hold(streams).await?).await)
    }

    /// The process is made while the client connects. In a privileged container it could be tampered with meanwhile, and waits.
    async fn start_with<T>(
        &self,
        instance: &Instance,
        streams: Streams,
        sockets: impl Future<Output = Result<T>>,
    ) -> Result<(Exec, T)> {
        if instance.idmap.is_none() {
            let sockets = sockets.await?;
            return Ok((self.start(streams).await?, sockets));
        }
        // Whoever connects hears what went wrong; for who does not, there is nothing to wait for.
        let hold = async { Ok(self.hold(streams).await) };
        let (held, sockets) = tokio::try_join!(hold, sockets)?;
        Ok((self.begin(held?).await, sockets))
    }

    /// Reports a program's end. Two codes are also failures of the operation, as with the reference.
    fn done(&self, code: i32) -> Result<()> {
        self.operation.set_metadata("return", code);
        match code {
            126 => Err(Error::bad_request("Command not executable")),
            127 => Err(Error::bad_request("Command not found")),
            _ => Ok(()),
        }
    }

    /// Without a client: output goes to files, or nowhere.
    async fn alone(&self, instance: &Instance) -> Result<()> {
        if !self.post.record_output {
            let exec = self.start(Streams::Null).await?;
            return self.done(exec.exit.wait().await?);
        }
        let name = |stream: &str| format!("exec_{}.{stream}", self.operation.id());
        let (names, folder) = ([name("stdout"), name("stderr")], instance.paths.logs.clone());
        let paths = names.clone().map(|name| folder.join(name));
        let (stdout, stderr) = blocking(move || {
            let [out, err] = paths;
            std::fs::create_dir_all(&folder)
                .and_then(|()| Ok((File::create(&out)?, File::create(&err)?)))
                .map_err(|error| Error::internal(format!("Failed making {}", out.display())).because(error))
        })
        .await?;
        let exec = self.start(Streams::Files { stdout, stderr }).await?;
        let code = exec.exit.wait().await?;
        let url = |name: &String| crate::urls::plain(&["instances", &self.key.name, "logs", name]);
        let output: BTreeMap<&str, String> = ["1", "2"].into_iter().zip(names.iter().map(url)).collect();
        self.operation.set_metadata("output", json!(output));
        self.done(code)
    }

    async fn with_websockets(&self, instance: &Instance) -> Result<()> {
        let code = if self.post.interactive {
            let size = |number: i64| u16::try_from(number).unwrap_or(0);
            let streams = Streams::Terminal {
                width: size(self.post.width),
                height: size(self.post.height),
            };
            let data = take(self.operation, "0");
            let (exec, data) = self.start_with(instance, streams, data).await?;
            self.controlled(exec.control.clone(), interactive(exec, data))
                .await?
        } else {
            let data = futures::future::try_join_all(["0", "1", "2"].map(|name| take(self.operation, name)));
            let (exec, data) = self.start_with(instance, Streams::Pipes, data).await?;
            self.controlled(exec.control.clone(), piped(exec, data)).await?
        };
        self.done(code)
    }

    /// Follows the control websocket, which may come late or never, until the program and its streams have ended.
    async fn controlled(&self, control: Control, run: impl Future<Output = Result<i32>>) -> Result<i32> {
        let killer = control.clone();
        let follow = async {
            if let Ok(socket) = self.operation.sockets().take(CONTROL).await {
                obey(control, socket).await;
            }
            std::future::pending::<()>().await;
        };
        let cancelled = async {
            self.operation.cancel_token().cancelled().await;
            let _ = killer.signal(KILL);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            code = run => code,
            () = follow => Err(Error::internal("The control websocket ended the program")),
            () = cancelled => Err(Error::cancelled("Operation cancelled")),
        }
    }
}

/// Waits for a client to connect a websocket.
pub(super) async fn take(operation: &Operation, name: &str) -> Result<Socket> {
    let taken = tokio::time::timeout(PATIENCE, operation.sockets().take(name)).await;
    taken.map_err(|_| Error::bad_request("Timed out waiting for websockets to connect"))?
}

/// What ^D types, which terminals take for the end unless a program has chosen another key.
const END_OF_FILE: u8 = 4;
const HANG_UP: i32 = 1;
const KILL: i32 = 9;

/// A program on a terminal.
async fn interactive(exec: Exec, data: Socket) -> Result<i32> {
    let Ends::Terminal(terminal) = exec.ends else {
        return Err(Error::internal("The program has no terminal"));
    };
    let (reader, writer) = Terminal::into_split(terminal);
    let Socket { receiver, sender } = data;
    let control = exec.control;
    let input = async {
        type_in(receiver, writer).await;
        // Whoever sat at the terminal has gone.
        let _ = control.signal(HANG_UP);
        std::future::pending::<()>().await;
    };
    let output = drain(reader, sender, exec.exit);
    tokio::select! {
        code = output => code,
        () = input => Err(Error::internal("The terminal ended the program")),
    }
}

/// A program with three pipes.
async fn piped(exec: Exec, data: Vec<Socket>) -> Result<i32> {
    let Ends::Pipes {
        stdin,
        stdout,
        stderr,
    } = exec.ends
    else {
        return Err(Error::internal("The program has no pipes"));
    };
    let mut data = data.into_iter();
    let (Some(input), Some(out), Some(err)) = (data.next(), data.next(), data.next()) else {
        return Err(Error::internal("Websockets are missing"));
    };
    let mut last = input.sender;
    let feeding = AbortOnDropHandle::new(tokio::spawn(feed(input.receiver, stdin)));
    // What the program left behind may write more: as with the reference, the end is the end of all of them.
    let (code, (), ()) = tokio::join!(exec.exit.wait(), copy_all(stdout, out), copy_all(stderr, err));
    drop(feeding);
    let _ = last.send(Message::Close).await;
    Ok(code?)
}

/// Waits for a program's end and for its output, which learns of the end by `over`.
async fn ended(exit: Exit, over: &CancellationToken, outputs: impl Future<Output = ()>) -> Result<i32> {
    let exit = async {
        let code = exit.wait().await;
        over.cancel();
        code
    };
    let (code, ()) = tokio::join!(exit, outputs);
    Ok(code?)
}

/// What a client sends goes to the program until it says that this was all.
pub(super) async fn feed<W: AsyncWrite + Unpin>(mut from: Receiver, mut to: W) {
    while let Some(Ok(message)) = from.next().await {
        let Message::Binary(data) = message else { return };
        if to.write_all(&data).await.is_err() {
            return;
        }
    }
}

/// What a client sends is typed at the terminal, until the client is gone. That there is no more of it is typed as well, for
/// programs that wait for more; the others go on, and what they write is still wanted.
async fn type_in<W: AsyncWrite + Unpin>(mut from: Receiver, mut to: W) {
    let mut is_line_open = false;
    while let Some(Ok(message)) = from.next().await {
        let typed = match message {
            Message::Binary(data) => data,
            Message::Text(_) if is_line_open => Bytes::from_static(&[END_OF_FILE, END_OF_FILE]),
            Message::Text(_) => Bytes::from_static(&[END_OF_FILE]),
            Message::Close => return,
        };
        is_line_open = typed
            .last()
            .is_some_and(|last| !matches!(*last, b'\n' | b'\r' | END_OF_FILE));
        if to.write_all(&typed).await.is_err() {
            return;
        }
    }
}

pub(super) type Receiver = std::pin::Pin<Box<dyn futures::Stream<Item = std::io::Result<Message>> + Send>>;
pub(super) type Sender = std::pin::Pin<Box<dyn futures::Sink<Message, Error = std::io::Error> + Send>>;

/// What a program writes goes to the client; then a sign that this was all.
async fn copy_all(from: pipe::Receiver, to: Socket) {
    let Socket { mut sender, receiver } = to;
    // Read as well, so that pings and the client's end are seen; it says nothing.
    let _listening = AbortOnDropHandle::new(tokio::spawn(receiver.for_each(|_| async {})));
    send_all(from, &mut sender).await;
    finish(&mut sender).await;
}

pub(super) async fn send_all<R: AsyncRead + Unpin>(from: R, to: &mut Sender) {
    send_until(from, to, &CancellationToken::new()).await;
}

/// Sends what can be read until it ends. Once the program is over, all that it wrote can be read already, however long the client
/// takes for it; only what it left behind could write more.
async fn send_until<R: AsyncRead + Unpin>(mut from: R, to: &mut Sender, over: &CancellationToken) {
    let mut buffer = BytesMut::new();
    let mut late = 0;
    while late < LAST_BYTES {
        buffer.reserve(CHUNK);
        let quiet = async {
            over.cancelled().await;
            tokio::time::sleep(LAST_OUTPUT).await;
        };
        let count = tokio::select! {
            biased;
            count = from.read_buf(&mut buffer) => count,
            () = quiet => return,
        };
        let count = count.unwrap_or(0);
        if over.is_cancelled() {
            late += count;
        }
        if count == 0 || send_pieces(buffer.split().freeze(), to).await.is_err() {
            return;
        }
    }
}

/// Sends bytes as messages that are not too long, all at once.
async fn send_pieces(mut bytes: Bytes, to: &mut Sender) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(MESSAGE));
        to.feed(Message::Binary(piece)).await?;
    }
    to.flush().await
}

pub(super) async fn finish(sender: &mut Sender) {
    let _ = sender.send(Message::Text(String::new())).await;
    let _ = sender.send(Message::Close).await;
}

/// A terminal's output until the program has ended and nothing more comes.
async fn drain<R: AsyncRead + Unpin>(from: R, mut to: Sender, exit: Exit) -> Result<i32> {
    let over = CancellationToken::new();
    let code = ended(exit, &over, send_until(from, &mut to, &over)).await;
    finish(&mut to).await;
    code
}

/// What clients say on the control websocket.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ControlMessage {
    command: String,
    /// Debian's client says `null` with a signal.
    args: Option<BTreeMap<String, String>>,
    signal: i32,
}

/// Does what a client says. A client that vanishes takes its program along; one that says goodbye does not.
async fn obey(control: Control, mut socket: Socket) {
    loop {
        let text = match socket.receiver.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(data))) => String::from_utf8_lossy(&data).into_owned(),
            Some(Ok(Message::Close)) => return,
            Some(Err(_)) | None => {
                let _ = control.signal(KILL);
                return;
            }
        };
        let done = match parse(&text) {
            Ok(Order::Resize { width, height }) => control.resize(width, height),
            Ok(Order::Signal(number)) => control.signal(number),
            Err(reason) => {
                tracing::debug!(reason, "Ignored a control message");
                continue;
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, "A control message had no effect");
        }
    }
}

/// What a client wants of a running program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Resize { width: u16, height: u16 },
    Signal(i32),
}

/// Reads what a client says on the control websocket.
pub(super) fn parse(text: &str) -> Result<Order, String> {
    let message: ControlMessage = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let args = message.args.unwrap_or_default();
    match message.command.as_str() {
        "window-resize" => {
            let number = |key: &str| -> Result<u16, String> {
                let value = args.get(key).map_or("", String::as_str);
                value.parse().map_err(|_| format!("Invalid {key} {value:?}"))
            };
            Ok(Order::Resize {
                width: number("width")?,
                height: number("height")?,
            })
        }
        "signal" => Ok(Order::Signal(message.signal)),
        other => Err(format!("Unknown command {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages() {
        let resize = r#"{"command":"window-resize","args":{"width":"80","height":"25"}}"#;
        assert_eq!(
            parse(resize),
            Ok(Order::Resize {
                width: 80,
                height: 25
            })
        );
        assert_eq!(
            parse(r#"{"command":"signal","signal":15}"#),
            Ok(Order::Signal(15))
        );
        assert_eq!(
            parse(r#"{"command":"signal","args":null,"signal":10}"#),
            Ok(Order::Signal(10))
        );
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"command":"window-resize","args":{"width":"x"}}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
