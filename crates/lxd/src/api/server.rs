//! `/` and `/1.0`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lxd_core::{resources, server};
use parking_lot::Mutex;

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// How long an answer is good for: the host's addresses, which are part of it, change without a word.
const FRESH: Duration = Duration::from_secs(1);

/// The most answers that are kept, one for each project and kind of caller.
const MOST: usize = 64;

/// Encoded answers of `GET /1.0`, as clients ask for it before everything they do.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<(String, bool), Cached>>);

struct Cached {
    revision: u64,
    made_at: Instant,
    etag: String,
    body: Bytes,
}

/// Lists the versions of the API.
pub(super) async fn versions(_: Call) -> Outcome {
    answer::sync(&["/1.0"])
}

/// Shows the host's hardware.
pub(super) async fn resources(_: Call) -> Outcome {
    answer::sync(&resources::get().await?)
}

/// Shows the server; strangers see less.
pub(super) async fn get(call: Call) -> Outcome {
    if !call.ctx.is_trusted() {
        return answer::sync(&server::untrusted(&call.app));
    }
    let revision = call.app.config.revision();
    let key = (call.ctx.project.clone(), call.ctx.is_admin());
    let cached = {
        let cache = call.edge.server.0.lock();
        let fresh = cache
            .get(&key)
            .filter(|c| c.revision == revision && c.made_at.elapsed() < FRESH);
        fresh.map(|cached| (cached.body.clone(), cached.etag.clone()))
    };
    let (body, etag) = match cached {
        Some(cached) => cached,
        None => {
            let made_at = Instant::now();
            let tagged = server::get(&call.app, &call.ctx).await?;
            let (body, etag) = (answer::envelope(&tagged.value)?, tagged.etag);
            let mut cache = call.edge.server.0.lock();
            if cache.len() >= MOST {
                cache.clear();
            }
            cache.insert(
                key,
                Cached {
                    revision,
                    made_at,
                    etag: etag.clone(),
                    body: body.clone(),
                },
            );
            (body, etag)
        }
    };
    let mut answer = answer::encoded(body);
    answer::set_etag(&mut answer, &etag);
    Ok(answer)
}

/// Replaces the server's configuration.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    server::update(&call.app, &call.ctx, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of the server's configuration.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    server::patch(&call.app, &call.ctx, patch, call.if_match()).await?;
    answer::empty()
}
