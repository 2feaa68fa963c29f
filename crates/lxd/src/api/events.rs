//! `/1.0/events`.

use lxd_core::events::Wanted;

use crate::http::answer::Outcome;
use crate::http::request::Call;
use crate::http::websocket;

/// Sends events over a websocket.
pub(super) async fn get(mut call: Call) -> Outcome {
    let types = call.query("type");
    let wanted = Wanted::from_request(&call.ctx, types.as_deref(), call.all_projects())?;
    let handshake = match websocket::handshake(&mut call) {
        Ok(handshake) => handshake,
        Err(refusal) => return Ok(*refusal),
    };
    // From here on nothing is missed: clients make requests as soon as they have the answer.
    let events = call.app.events.subscribe(wanted);
    let shutdown = call.app.shutdown.clone();
    Ok(handshake.then(async move |connection| {
        let ended = shutdown.cancelled_owned();
        tokio::select! {
            () = websocket::send_all(connection, events) => {}
            () = ended => {}
        }
    }))
}
