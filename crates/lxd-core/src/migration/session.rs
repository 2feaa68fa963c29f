//! What both sides do with their websockets whatever goes over: wait for each other, keep them, end.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Ends, Line, NAMES};
use crate::error::{Error, Result};
use crate::operations::{Kind, Options, Sockets};

/// Whether the side that gets the data waits for the other one, which its request says by a mode.
///
/// # Errors
/// A mode that nobody knows; a secret is missing.
pub(crate) fn is_listening(mode: &str, secrets: &BTreeMap<String, String>, quote: char) -> Result<bool> {
    match mode {
        "pull" => {}
        "push" => return Ok(true),
        mode => {
            let text = format!("Mode {quote}{mode}{quote} not implemented");
            return Err(Error::not_implemented(text));
        }
    }
    match NAMES.into_iter().find(|name| !secrets.contains_key(*name)) {
        Some(name) => Err(Error::internal(format!("Missing {name} secret"))),
        None => Ok(false),
    }
}

/// An operation whose metadata lets the other side connect.
pub(crate) fn with_secrets(kind: Kind) -> Options {
    let sockets = Sockets::new(NAMES);
    let secrets = sockets.secrets();
    secrets
        .into_iter()
        .fold(Options::websocket(kind, sockets), |options, (name, secret)| {
            options.metadata(&name, secret)
        })
}

/// Does the work unless somebody cancels it.
///
/// # Errors
/// The work's; it was cancelled.
pub(crate) async fn cancelled_by<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = cancel.cancelled() => Err(Error::cancelled("Operation cancelled")),
    }
}

/// Does a part of the work unless the other side says meanwhile that it has failed, in words that begin with `doing`. Gives
/// whether it has said that it has succeeded, which it does once.
///
/// # Errors
/// The work's; what the other side says.
pub(crate) async fn unless_told<T>(
    (control, doing): (&mut Line, &str),
    work: impl Future<Output = Result<T>>,
) -> Result<(T, bool)> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => Ok((done?, false)),
        told = control.outcome(doing) => {
            told?;
            Ok((work.await?, true))
        }
    }
}

/// The connection of a work, which no record keeps: after a crash it is gone.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Ends>>>);

impl Held {
    pub(crate) fn new(ends: Ends) -> Self {
        Self(Arc::new(Mutex::new(Some(ends))))
    }

    pub(crate) fn take(&self) -> Option<Ends> {
        self.0.lock().take()
    }

    fn put(&self, ends: Ends) {
        *self.0.lock() = Some(ends);
    }

    /// Uses the connection.
    ///
    /// # Errors
    /// It is gone; whatever the work says.
    pub(crate) async fn with<T>(&self, work: impl AsyncFnOnce(&mut Ends) -> Result<T>) -> Result<T> {
        let ends = self.take();
        let mut ends = ends.ok_or_else(|| Error::refused("The connection to the other server is gone"))?;
        let done = work(&mut ends).await;
        self.put(ends);
        done
    }
}
