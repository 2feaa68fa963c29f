//! `/1.0/certificates`.

use lxd_core::certificates::{self, Added};

use crate::http::answer::{self, Outcome};
use crate::http::request::Call;

/// Lists the trusted certificates.
pub(super) async fn list(call: Call) -> Outcome {
    let all = certificates::list(&call.app, &call.ctx).await?;
    if call.recursion() > 0 {
        return answer::sync(&all);
    }
    let urls: Vec<String> = all
        .iter()
        .map(|certificate| certificates::url(&certificate.fingerprint))
        .collect();
    answer::sync(&urls)
}

/// Trusts a certificate, or makes a token for one.
pub(super) async fn create(mut call: Call) -> Outcome {
    let post = call.json().await?;
    match certificates::add(&call.app, &call.ctx, post).await? {
        Added::Certificate(fingerprint) => answer::created(&certificates::url(&fingerprint)),
        Added::Token(operation) => answer::in_background(&operation),
    }
}

/// Shows a certificate.
pub(super) async fn get(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    answer::tagged(&certificates::get(&call.app, &call.ctx, fingerprint).await?)
}

/// Replaces what may change of a certificate.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [fingerprint] = call.params();
    certificates::update(&call.app, &call.ctx, fingerprint, put, call.if_match()).await?;
    answer::empty()
}

/// Changes parts of a certificate.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.json().await?;
    let [fingerprint] = call.params();
    certificates::patch(&call.app, &call.ctx, fingerprint, patch, call.if_match()).await?;
    answer::empty()
}

/// Takes a certificate off the list.
pub(super) async fn delete(call: Call) -> Outcome {
    let [fingerprint] = call.params();
    certificates::delete(&call.app, &call.ctx, fingerprint).await?;
    answer::empty()
}
