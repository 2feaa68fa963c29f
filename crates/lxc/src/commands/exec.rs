//! `lxc exec`: commands inside instances.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use futures::{SinkExt, StreamExt};
use lxd_api::instance_exec::InstanceExecPost;
use lxd_client::WebSocket;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render::READER_GONE;

/// How much of standard input is sent at once, in bytes.
const CHUNK: usize = 1 << 15;

/// Messages that are written at once.
const MESSAGES: usize = 64;

/// `lxc exec`: the exit code is that of the command.
pub(crate) async fn exec(cx: &Context) -> Result<()> {
    let instance = cx.resource(cx.argument(0))?;
    let interactive = is_interactive(cx)?;
    let command = request(cx, interactive)?;
    let terminal = if interactive { RawTerminal::enter() } else { None };
    let code = run(cx, &instance, &command).await;
    drop(terminal);
    match code? {
        (0, None) => Ok(()),
        (code, why) => {
            if let Some(why) = why {
                eprintln!("Error: {why}");
            }
            Err(Error::Exit(code))
        }
    }
}

/// Whether the command gets a terminal.
fn is_interactive(cx: &Context) -> Result<bool> {
    let (terminal, none) = (cx.switch("force-interactive"), cx.switch("force-noninteractive"));
    if terminal && none {
        return Err(Error::message("You can't pass -t and -T at the same time"));
    }
    if cx.text("mode") != "auto" && (terminal || none) {
        return Err(Error::message(
            "You can't pass -t or -T at the same time as --mode",
        ));
    }
    Ok(match cx.text("mode") {
        _ if terminal => true,
        _ if none => false,
        "interactive" => true,
        "auto" => std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        _ => false,
    })
}

fn request(cx: &Context, interactive: bool) -> Result<InstanceExecPost> {
    let mut environment = BTreeMap::new();
    if let Ok(kind) = std::env::var("TERM") {
        environment.insert("TERM".into(), kind);
    }
    for word in cx.list("env") {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        environment.insert(name.into(), value.into());
    }
    let (width, height) = if interactive { window() } else { (0, 0) };
    let id = |flag: &str| {
        u32::try_from(cx.number(flag))
            .map_err(|_| Error::message(format!("Invalid {flag} ID: {}", cx.text(flag))))
    };
    Ok(InstanceExecPost {
        command: cx.arguments()[1..].to_vec(),
        cwd: cx.text("cwd").into(),
        environment,
        group: id("group")?,
        user: id("user")?,
        interactive,
        width,
        height,
        wait_for_websocket: true,
        record_output: false,
    })
}

/// Runs the command; gives its exit code, and why it did not run.
async fn run(cx: &Context, instance: &Resource, command: &InstanceExecPost) -> Result<(u8, Option<String>)> {
    let mut exec = instance.client.exec(&instance.name, command).await?;
    let mut streams = exec.streams.drain(..);
    let (Some(first), second, third) = (streams.next(), streams.next(), streams.next()) else {
        return Err(Error::message("The server offers no stream to the command"));
    };
    drop(streams);
    let (to_command, from_command) = first.split();
    let silent = cx.switch("disable-stdin");
    let input = tokio::spawn(async move { send_input(to_command, silent).await });
    let output = async {
        if let (Some(out), Some(err)) = (second, third) {
            let (out, err) = (out.split().1, err.split().1);
            tokio::try_join!(copy(out, tokio::io::stdout()), copy(err, tokio::io::stderr()))?;
            drop(from_command);
        } else {
            copy(from_command, tokio::io::stdout()).await?;
        }
        // The server waits for the end of this stream: what was typed and not read is lost with the command.
        input.abort();
        let _ = input.await;
        Ok(())
    };
    let mut control = exec.control;
    let background = exec.background;
    let ended = async { tokio::try_join!(async { background.end().await.map_err(Error::from) }, output) };
    let ended = tokio::select! {
        ended = ended => ended?.0,
        never = forward_signals(&mut control, command.interactive) => match never? {},
    };
    let ended = ended.unwrap_or_default();
    let code = ended.metadata["return"]
        .as_i64()
        .and_then(|code| u8::try_from(code & 0xff).ok());
    match (ended.status_code, code) {
        (200, Some(code)) => Ok((code, None)),
        (_, Some(code)) if code != 0 => Ok((code, Some(ended.err))),
        _ if ended.err.is_empty() => Ok((code.unwrap_or(0), None)),
        _ => Err(Error::message(ended.err)),
    }
}

/// Sends standard input, and then that it has ended.
async fn send_input(mut to: futures::stream::SplitSink<WebSocket, Message>, silent: bool) {
    let mut from: Box<dyn AsyncRead + Send + Unpin> = if silent {
        Box::new(tokio::io::empty())
    } else {
        Box::new(tokio::io::stdin())
    };
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).await {
            Ok(count) if count > 0 => {
                let sent = to.send(Message::binary(chunk[..count].to_vec())).await;
                if sent.is_err() {
                    return;
                }
            }
            _ => break,
        }
    }
    // An empty text is the protocol's end of file; the command may have ended before.
    let _ = to.send(Message::text("")).await;
    std::future::pending::<()>().await;
}

/// Writes what the command prints, until it has closed the stream. What has come is written at once: a message is a page at most,
/// and each write goes through another thread. Where nobody reads any more this program ends, and the command hears of that.
async fn copy(from: futures::stream::SplitStream<WebSocket>, mut to: impl AsyncWrite + Unpin) -> Result<()> {
    let mut ready = from.ready_chunks(MESSAGES);
    let mut bytes = Vec::new();
    let mut ends = false;
    while !ends && let Some(messages) = ready.next().await {
        bytes.clear();
        for message in messages {
            match message {
                Ok(Message::Binary(data)) => bytes.extend_from_slice(&data),
                Ok(Message::Text(_)) | Err(_) => {
                    ends = true;
                    break;
                }
                Ok(_) => {}
            }
        }
        let written = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        match written.await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Err(READER_GONE),
            Err(_) => break,
        }
    }
    Ok(())
}

/// Passes signals and window sizes on.
async fn forward_signals(control: &mut WebSocket, interactive: bool) -> Result<std::convert::Infallible> {
    let failed = |source| Error::Terminal {
        doing: "Failed to listen for signals",
        source,
    };
    let listen = |kind: SignalKind| signal(kind).map_err(failed);
    let mut resized = listen(SignalKind::window_change())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut quit = listen(SignalKind::quit())?;
    let mut user1 = listen(SignalKind::user_defined1())?;
    let mut user2 = listen(SignalKind::user_defined2())?;
    loop {
        let number = tokio::select! {
            _ = resized.recv() => 0,
            _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = quit.recv() => SignalKind::quit().as_raw_value(),
            _ = user1.recv() => SignalKind::user_defined1().as_raw_value(),
            _ = user2.recv() => SignalKind::user_defined2().as_raw_value(),
            message = control.next() => match message {
                Some(Ok(_)) => continue,
                // The command is over; what remains is to read its output.
                _ => std::future::pending().await,
            },
        };
        let message = match number {
            0 if interactive => resize_message(window()),
            0 => continue,
            number => json!({ "command": "signal", "args": {}, "signal": number }),
        };
        // The control stream closes when the command ends.
        let _ = control.send(Message::text(message.to_string())).await;
    }
}

/// What the control stream is told about the size of the window.
pub(super) fn resize_message((width, height): (i64, i64)) -> Value {
    json!({
        "command": "window-resize",
        "args": { "width": width.to_string(), "height": height.to_string() },
        "signal": 0,
    })
}

/// Columns and rows of the terminal.
pub(super) fn window() -> (i64, i64) {
    let size = tcgetwinsize(rustix::stdio::stdout()).or_else(|_| tcgetwinsize(rustix::stdio::stdin()));
    size.map_or((80, 24), |size| (i64::from(size.ws_col), i64::from(size.ws_row)))
}

/// The terminal in raw mode, until this is dropped.
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Enters it; none where standard input is no terminal.
    pub(super) fn enter() -> Option<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_sent_as_text() {
        assert_eq!(
            resize_message((80, 24)).to_string(),
            r#"{"command":"window-resize","args":{"width":"80","height":"24"},"signal":0}"#
        );
    }
}
