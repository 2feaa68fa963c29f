//! Saving what runs while its owner goes on: a kill waits for nothing, all else waits for this.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::{Message, Reply};
use crate::drivers::{Guest, Saving};
use crate::error::Error;
use crate::instance::Instance;

/// What runs is being saved.
pub(super) type Dumping = BoxFuture<'static, Done>;

/// What became of it, for whoever asked.
pub(super) enum Done {
    /// It was saved, and ends.
    Stops(Reply),
    /// It goes on, saved or not.
    GoesOn(Reply, Result<(), Error>),
}

/// Begins.
pub(super) fn begin(guest: Arc<dyn Guest>, instance: Arc<Instance>, saving: Saving, reply: Reply) -> Dumping {
    async move {
        match guest.dump(&instance, &saving).await {
            Ok(()) if saving.stops => Done::Stops(reply),
            result => Done::GoesOn(reply, result),
        }
    }
    .boxed()
}

/// Waits for the end of it, which takes it out; for ever where there is none.
pub(super) async fn done(dumping: &mut Option<Dumping>) -> Done {
    let Some(under_way) = dumping else {
        return std::future::pending().await;
    };
    let done = under_way.await;
    *dumping = None;
    done
}

/// The next request: first of all what was held back meanwhile.
pub(super) async fn next(
    queue: &mut mpsc::Receiver<Message>,
    held: &mut VecDeque<Message>,
    is_dumping: bool,
) -> Option<Message> {
    let waiting = if is_dumping { None } else { held.pop_front() };
    match waiting {
        Some(message) => Some(message),
        None => queue.recv().await,
    }
}
