//! `lxc console`: consoles of instances.

use futures::{SinkExt, StreamExt};
use lxd_api::instance_exec::InstanceConsolePost;
use lxd_client::{Client, WebSocket, path};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

use super::exec::{RawTerminal, resize_message, window};
use crate::context::{Context, Resource};
use crate::error::{Error, Result};
use crate::render;

/// Ctrl-a, after which `q` leaves.
const ESCAPE: u8 = 1;

/// `lxc console`.
pub(super) async fn console(cx: &Context) -> Result<()> {
    let instance = cx.resource(cx.argument(0))?;
    if cx.switch("show-log") {
        if cx.text("type") != "console" {
            return Err(Error::message(
                "The --show-log flag is only supported for by 'console' output type",
            ));
        }
        return show_log(&instance).await;
    }
    attach(&instance.client, &instance.name, cx.text("type")).await
}

async fn show_log(instance: &Resource) -> Result<()> {
    let at = path(&["instances", &instance.name, "console"]);
    let text = instance.client.download(&at).await?.bytes().await?;
    render::print("\nConsole log:\n\n")?;
    let mut out = tokio::io::stdout();
    let written = async {
        out.write_all(&text).await?;
        out.write_all(b"\n").await?;
        out.flush().await
    };
    written.await.map_err(|source| Error::Terminal {
        doing: "Failed to write standard output",
        source,
    })
}

/// Sits at an instance's console until the user leaves, or it is gone.
pub(super) async fn attach(client: &Client, name: &str, kind: &str) -> Result<()> {
    if !matches!(kind, "console" | "vga") {
        return Err(Error::message(format!("Unknown output type {kind:?}")));
    }
    let (width, height) = window();
    let post = InstanceConsolePost {
        width,
        height,
        r#type: kind.to_owned(),
    };
    let at = path(&["instances", name, "console"]);
    let terminal = match kind {
        "console" => Some(RawTerminal::enter().ok_or(Error::message("inappropriate ioctl for device"))?),
        _ => None,
    };
    let background = client.start(&at, &post).await?;
    let control = client.operation_stream(&background, "control").await?;
    let data = client.operation_stream(&background, "0").await?;
    render::print("To detach from the console, press: <ctrl>+a q\n\r")?;
    let sat = sit(data, control).await;
    drop(terminal);
    sat?;
    let ended = background.end().await?.unwrap_or_default();
    match ended.err.as_str() {
        "" => Ok(()),
        text => Err(Error::message(text)),
    }
}

async fn sit(data: WebSocket, mut control: WebSocket) -> Result<()> {
    let (mut to, mut from) = data.split();
    let output = async {
        let mut out = tokio::io::stdout();
        while let Some(Ok(message)) = from.next().await {
            match message {
                Message::Binary(data) if out.write_all(&data).await.is_ok() && out.flush().await.is_ok() => {}
                Message::Binary(_) | Message::Text(_) => break,
                _ => {}
            }
        }
    };
    let input = async {
        let mut from = tokio::io::stdin();
        let (mut chunk, mut escape) = (vec![0; 1 << 12], Escape::default());
        loop {
            let count = from.read(&mut chunk).await.unwrap_or(0);
            let (typed, leaves) = escape.filter(&chunk[..count]);
            if !typed.is_empty() && to.send(Message::binary(typed)).await.is_err() {
                return;
            }
            if leaves || count == 0 {
                let _ = to.send(Message::Close(None)).await;
                return;
            }
        }
    };
    tokio::select! {
        () = output => Ok(()),
        () = input => Ok(()),
        never = follow_window(&mut control) => never,
    }
}

async fn follow_window(control: &mut WebSocket) -> Result<()> {
    let mut resized = signal(SignalKind::window_change()).map_err(|source| Error::Terminal {
        doing: "Failed to listen for signals",
        source,
    })?;
    loop {
        tokio::select! {
            _ = resized.recv() => {
                let message = resize_message(window()).to_string();
                if control.send(Message::text(message)).await.is_err() {
                    return std::future::pending().await;
                }
            }
            message = control.next() => if !matches!(message, Some(Ok(_))) {
                return std::future::pending().await;
            },
        }
    }
}

/// Finds the user's wish to leave in what is typed.
#[derive(Debug, Default)]
struct Escape {
    begun: bool,
}

impl Escape {
    /// What the instance is to get of this, and whether the user leaves.
    fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut kept = Vec::with_capacity(typed.len());
        for &byte in typed {
            match (self.begun, byte) {
                (false, ESCAPE) => self.begun = true,
                (true, b'q') => return (kept, true),
                (true, byte) => {
                    self.begun = false;
                    kept.push(ESCAPE);
                    if byte != ESCAPE {
                        kept.push(byte);
                    }
                }
                (false, byte) => kept.push(byte),
            }
        }
        (kept, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_takes_two_keys() {
        let mut escape = Escape::default();
        assert_eq!(escape.filter(b"ab\x01"), (b"ab".to_vec(), false));
        assert_eq!(escape.filter(b"cq"), (b"\x01cq".to_vec(), false));
        assert_eq!(escape.filter(b"\x01\x01x"), (b"\x01x".to_vec(), false));
        assert_eq!(escape.filter(b"x\x01qz"), (b"x".to_vec(), true));
    }
}
