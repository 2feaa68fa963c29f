//! From a request to its answer: who asks, what is meant, may they, and the handler.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::FutureExt as _;
use http::header::{EXPECT, ORIGIN};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use lxd_api::endpoints::{Access, Endpoint, Row};
use lxd_core::{App, Caller, Ctx, DEFAULT_PROJECT};
use lxd_model::ErrorKind;
use lxd_model::urls;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer, Outcome};
use super::connection::Peer;
use super::error::Failure;
use super::linger::{Lent, lend};
use super::origins;
use super::request::{Call, query};
use super::routes::{Found, Routes};
use crate::api;
use crate::daemon::stop::Stop;

/// Where the paths of instances begin.
const INSTANCE: &str = "/1.0/instances/{name}";

/// The HTTP side of the daemon. There is one, behind an `Arc`.
pub(crate) struct Edge {
    /// The daemon.
    pub(crate) app: Arc<App>,
    /// How the daemon is told to end, and whether it is ready.
    pub(crate) stop: Arc<Stop>,
    /// The encoded answer of `GET /1.0`.
    pub(crate) server: api::server::Cache,
    routes: Routes,
    requests: AtomicU64,
}

impl Edge {
    /// The HTTP side of a daemon.
    pub(crate) fn new(app: Arc<App>, stop: Arc<Stop>) -> Arc<Self> {
        Arc::new(Self {
            app,
            stop,
            server: api::server::Cache::default(),
            routes: Routes::new(),
            requests: AtomicU64::new(1),
        })
    }
}

/// Answers a request. `unread` is set when its body was not read to the end.
pub(super) async fn serve(
    edge: Arc<Edge>,
    peer: Arc<Peer>,
    unread: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let config = request
        .headers()
        .contains_key(ORIGIN)
        .then(|| edge.app.config.all());
    let id = edge.requests.fetch_add(1, Ordering::Relaxed);
    let waits = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let (body, lender) = lend(body);
    let request = Request::from_parts(head, body);
    let outcome = if request.method() == Method::OPTIONS {
        Ok(answer::bare(StatusCode::OK))
    } else {
        answer_for(edge, &peer, request, id).await
    };
    let mut answer = outcome.unwrap_or_else(|failure| {
        if failure.status().is_server_error() {
            tracing::info!(
                request = id,
                status = failure.status().as_u16(),
                err = failure.text(),
                "Request failed"
            );
        } else {
            tracing::debug!(
                request = id,
                status = failure.status().as_u16(),
                err = failure.text(),
                "Request refused"
            );
        }
        failure.into_answer()
    });
    if let Some(config) = config {
        origins::allow(&config, &mut answer);
    }
    lender.settle(&mut answer, waits, &unread).await;
    Ok(answer)
}

async fn answer_for(edge: Arc<Edge>, peer: &Peer, request: Request<Lent>, id: u64) -> Outcome {
    let found = edge.routes.find(request.method().as_str(), request.uri().path());
    let ctx = context(&edge, peer, request.uri().query().unwrap_or_default(), id);
    log(&ctx, &request);
    let (row, values, only) = match found {
        Found::NoPath => return Err(Failure::not_found()),
        Found::Row { row, values, only } => (row, values, only),
        Found::NoMethod | Found::UnknownMethod if !ctx.is_trusted() => return Err(Failure::not_authorized()),
        Found::NoMethod => return Err(Failure::new(ErrorKind::NotImplemented, "not implemented")),
        Found::UnknownMethod => {
            return Err(Failure::new(
                ErrorKind::NotFound,
                format!("Method {:?} not found", request.method().as_str()),
            ));
        }
    };
    authorize(&ctx, row)?;
    if row.path.starts_with(INSTANCE) && values.first().is_some_and(|name| name.contains('/')) {
        return Err(Failure::bad_request("Invalid instance name"));
    }
    if values.iter().any(|value| value.contains('\0')) {
        return Err(missing(row));
    }
    let handler = api::handler(row.endpoint).ok_or_else(|| not_yet(row))?;
    let suspect = Suspect::of(&edge.app, &ctx, row, &values);
    let (mut parts, body) = request.into_parts();
    let guard = ctx.cancel.clone().drop_guard();
    let call = Call {
        app: Arc::clone(&edge.app),
        edge,
        ctx,
        only,
        values,
        upgrade: parts.extensions.remove(),
        uri: parts.uri,
        headers: parts.headers,
        body: Some(body),
    };
    require_member(&call, row)?;
    let work = AssertUnwindSafe(handler(call)).catch_unwind();
    // What changes something is not torn apart when the client hangs up in the middle: it is only told to cancel.
    let outcome = if row.method == "GET" || row.method == "HEAD" {
        work.await
    } else {
        tokio::spawn(work)
            .await
            .unwrap_or_else(|_| Ok(Err(panicked(row))))
    };
    guard.disarm();
    match (outcome.unwrap_or_else(|_| Err(panicked(row))), suspect) {
        (Err(failure), Some(suspect)) => Err(suspect.judge(failure).await),
        (outcome, _) => outcome,
    }
}

/// An instance that a request is about. Where there is none, the reference says so before it looks at what else is wrong.
struct Suspect {
    app: Arc<App>,
    ctx: Ctx,
    name: String,
}

impl Suspect {
    fn of(app: &Arc<App>, ctx: &Ctx, row: &Row, values: &[String]) -> Option<Self> {
        // These read what is asked first.
        let is_read_first = matches!(
            row.endpoint,
            Endpoint::InstanceExecPost | Endpoint::InstanceConsolePost | Endpoint::InstanceSftpGet
        );
        let name = values.first()?;
        (row.path.starts_with(INSTANCE) && !is_read_first).then(|| Self {
            app: Arc::clone(app),
            ctx: ctx.clone(),
            name: name.clone(),
        })
    }

    async fn judge(self, failure: Failure) -> Failure {
        if failure.status() != StatusCode::BAD_REQUEST {
            return failure;
        }
        match lxd_core::instances::require(&self.app, &self.ctx, &self.name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => error.into(),
            _ => failure,
        }
    }
}

/// Names that no object can have.
fn missing(row: &Row) -> Failure {
    match row.path.starts_with(INSTANCE) {
        true => Failure::new(ErrorKind::NotFound, "Instance not found"),
        false => Failure::not_found(),
    }
}

/// Refuses requests about the host, pools and networks that are meant for another member of a cluster, of which a server on its own has but itself.
fn require_member(call: &Call, row: &Row) -> Result<(), Failure> {
    let target = call.query("target").unwrap_or_default();
    let is_asked = row.path == "/1.0"
        || row.path == "/1.0/resources"
        || row.path.starts_with("/1.0/storage-pools/")
        || row.path.starts_with("/1.0/networks/")
        || (row.path == "/1.0/storage-pools" && row.method == "POST");
    if !is_asked || target.is_empty() || target == "none" {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::NotFound, "Cluster member not found"))
}

/// Refuses callers that may not use an endpoint at all. Use cases refuse more.
fn authorize(ctx: &Ctx, row: &Row) -> Result<(), Failure> {
    if row.access == Access::Trusted {
        ctx.require_trusted()?;
    }
    if row.is_internal() {
        ctx.require_admin()?;
    }
    Ok(())
}

fn context(edge: &Edge, peer: &Peer, text: &str, id: u64) -> Ctx {
    let (caller, address) = match peer {
        Peer::Unix { uid, username } => (
            Caller::Unix {
                uid: *uid,
                username: username.clone(),
            },
            "@".to_owned(),
        ),
        Peer::Tls { address, certificate } => (
            edge.app.trust.identify(certificate.as_deref()),
            address.to_string(),
        ),
    };
    let project = query(text, "project").filter(|project| !project.is_empty());
    Ctx {
        caller,
        project: project.unwrap_or_else(|| DEFAULT_PROJECT.to_owned()),
        request_id: id.to_string(),
        address,
        target: query(text, "target").filter(|target| !target.is_empty()),
        cancel: CancellationToken::new(),
    }
}

fn not_yet(row: &Row) -> Failure {
    Failure::new(
        ErrorKind::NotImplemented,
        format!(
            "{} {} is not implemented by this server yet",
            row.method, row.path
        ),
    )
}

fn panicked(row: &Row) -> Failure {
    Failure::new(
        ErrorKind::Internal,
        format!("{} {} failed unexpectedly; see the log", row.method, row.path),
    )
}

fn log(ctx: &Ctx, request: &Request<Lent>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (protocol, username) = match &ctx.caller {
        Caller::Unix { username, .. } => ("unix", username.as_str()),
        Caller::Tls { fingerprint, .. } => ("tls", fingerprint.as_str()),
        Caller::Untrusted { .. } | Caller::Daemon => ("tls", ""),
    };
    let url = urls::shown(&request.uri().to_string());
    tracing::debug!(
        request = ctx.request_id,
        ip = ctx.address,
        method = request.method().as_str(),
        protocol,
        url,
        username,
        "Handling API request"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use lxd_api::endpoints::ENDPOINTS;

    #[test]
    fn strangers_are_kept_out_of_every_trusted_row() {
        let stranger = Ctx::new(Caller::Untrusted { certificate: None });
        for row in ENDPOINTS {
            let refused = authorize(&stranger, row).is_err_and(|failure| failure.status() == 403);
            assert_eq!(
                refused,
                row.access == Access::Trusted,
                "{} {}",
                row.method,
                row.path
            );
        }
    }

    #[test]
    fn restricted_clients_are_kept_out_of_the_daemons_own_rows() {
        let caller = Caller::Tls {
            fingerprint: "ab".into(),
            name: "n".into(),
            restricted: true,
            projects: vec![],
        };
        let restricted = Ctx::new(caller);
        for row in ENDPOINTS {
            assert_eq!(
                authorize(&restricted, row).is_err(),
                row.is_internal(),
                "{} {}",
                row.method,
                row.path
            );
        }
    }
}
