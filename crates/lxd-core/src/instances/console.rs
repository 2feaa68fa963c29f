//! Consoles of instances, for a client to sit at.

use std::sync::Arc;

use futures::StreamExt as _;
use lxd_api::instance_exec::InstanceConsolePost;
use lxd_instance::Key;
use lxd_instance::console::Window;
use lxd_instance::exec::Terminal;
use lxd_instance::lifecycle::Phase;
use serde_json::json;

use super::exec::{CONTROL, Order, feed, finish, parse, send_all, take};
use super::record::Record;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::events::{Action, Lifecycle};
use crate::operations::{Kind, Message, Operation, Options, Socket, Sockets};

/// Lets a client sit at the console of a running instance, as an operation of class websocket.
///
/// # Errors
/// Not found; it does not run; it has no console of that kind.
pub async fn console(app: &Arc<App>, ctx: &Ctx, name: &str, post: InstanceConsolePost) -> Result<Operation> {
    ctx.require_project()?;
    let key = Key::new(&ctx.project, name);
    match post.r#type.as_str() {
        "" | "console" => {}
        "vga" => {
            return Err(Error::bad_request(
                "VGA console is only supported by virtual machines",
            ));
        }
        other => return Err(Error::bad_request(format!("Unknown console type {other:?}"))),
    }
    if !app.instances.registry.phase(&key).is_running() {
        let mut tx = app.cluster.read().await?;
        Record::load(&mut tx, &key.project, &key.name).await?;
        return Err(Error::bad_request("Instance is not running"));
    }
    if app.instances.registry.phase(&key) == Phase::Frozen {
        return Err(Error::bad_request("Instance is frozen"));
    }
    let sockets = Sockets::new(["0", CONTROL]);
    let fds = json!(sockets.secrets());
    let options = Options::websocket(Kind::ConsoleShow, sockets)
        .metadata("fds", fds)
        .resource("instances", name);
    let event = Lifecycle::new(Action::InstanceConsole, super::url(&ctx.project, name))
        .with("type", json!("console"))
        .by(ctx);
    let (project, app) = (ctx.project.clone(), Arc::clone(app));
    let operations = Arc::clone(&app.operations);
    operations.spawn(ctx, options, move |operation| async move {
        let data = take(&operation, "0").await?;
        let console = app.instances.registry.console(&key).await?;
        app.events.lifecycle(&project, &event);
        let size = |number: i64| u16::try_from(number).unwrap_or(0);
        let (width, height) = (size(post.width), size(post.height));
        if width > 0 && height > 0 {
            console.resize(width, height)?;
        }
        let (terminal, window) = console.into_parts();
        // Debian's client leaves by closing this socket, and waits for the other one's end.
        let leaving = async {
            match operation.sockets().take(CONTROL).await {
                Ok(socket) => obey(&window, socket).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sit(terminal, data, leaving) => {}
            () = operation.cancel_token().cancelled() => {}
        }
        Ok(())
    })
}

/// Passes on what is typed and shown, until the client or the console goes away.
async fn sit(terminal: Terminal, data: Socket, leaving: impl Future<Output = ()>) {
    let (reader, writer) = terminal.into_split();
    let Socket { receiver, mut sender } = data;
    tokio::select! {
        () = send_all(reader, &mut sender) => {}
        () = feed(receiver, writer) => {}
        () = leaving => {}
    }
    finish(&mut sender).await;
}

/// Does what a client says about the size of its window.
async fn obey(window: &Window, mut socket: Socket) {
    while let Some(Ok(message)) = socket.receiver.next().await {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(data) => String::from_utf8_lossy(&data).into_owned(),
            Message::Close => return,
        };
        if let Ok(Order::Resize { width, height }) = parse(&text)
            && let Err(error) = window.resize(width, height)
        {
            tracing::debug!(%error, "The console's size was not set");
        }
    }
}
