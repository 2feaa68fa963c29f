//! The socket that instances talk to, `/dev/lxd/sock` inside: who asks is known by the process at its other end.

mod answers;

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lxd_core::App;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The socket's name in the folder that instances see.
const SOCKET: &str = "sock";

/// How long an instance may take to send a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes.
const HEAD_LIMIT: usize = 16 << 10;

/// How many connections all instances together may have: what they do must not use up the daemon's files.
const CONNECTIONS: usize = 4096;

/// Listens for instances until the daemon stops.
///
/// # Errors
/// The socket can't be made.
pub(crate) fn serve(app: &Arc<App>) -> io::Result<()> {
    let path = app.paths.devlxd().join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    let app = Arc::clone(app);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = app.shutdown.cancelled() => break,
            };
            match (accepted, Arc::clone(&room).try_acquire_owned()) {
                (Ok((stream, _)), Ok(held)) => {
                    let app = Arc::clone(&app);
                    tokio::spawn(async move {
                        answer(&app, stream).await;
                        drop(held);
                    });
                }
                // Too many: it is closed.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(err = %error, "Failed to accept a connection of an instance");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let _ = std::fs::remove_file(path);
    });
    Ok(())
}

async fn answer(app: &Arc<App>, stream: UnixStream) {
    let Ok(credentials) = stream.peer_cred() else {
        return;
    };
    let (pid, uid) = (credentials.pid().unwrap_or(0), credentials.uid());
    let service = {
        let app = Arc::clone(app);
        service_fn(move |request| answers::answer(Arc::clone(&app), (pid, uid), request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(err = %error, "A connection of an instance ended");
        },
        () = app.shutdown.cancelled() => {}
    }
}
