//! Web pages of other origins, and which of them browsers let talk to this server (CORS).

use http::HeaderName;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
};
use lxd_model::config::Config;
use lxd_model::config::server::TABLE;

use super::answer::{self, Answer};

const ALLOWED: [(&str, HeaderName); 3] = [
    ("core.https_allowed_origin", ACCESS_CONTROL_ALLOW_ORIGIN),
    ("core.https_allowed_methods", ACCESS_CONTROL_ALLOW_METHODS),
    ("core.https_allowed_headers", ACCESS_CONTROL_ALLOW_HEADERS),
];

/// Tells the browser of a request that named its origin what the configuration allows; nothing where no origin is.
pub(super) fn allow(config: &Config, answer: &mut Answer) {
    if TABLE.value(config, ALLOWED[0].0).is_empty() {
        return;
    }
    for (key, header) in ALLOWED {
        let value = TABLE.value(config, key);
        if !value.is_empty() {
            answer::set_header(answer, header, value);
        }
    }
    if TABLE.is_true(config, "core.https_allowed_credentials") {
        answer::set_header(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_unless_an_origin_is() {
        let mut config = Config::new();
        config.insert("core.https_allowed_methods".into(), "GET, PUT".into());
        config.insert("core.https_allowed_credentials".into(), "true".into());
        let mut answer = answer::empty().unwrap();
        allow(&config, &mut answer);
        assert!(!answer.headers().contains_key("access-control-allow-methods"));
        config.insert("core.https_allowed_origin".into(), "https://a.example".into());
        allow(&config, &mut answer);
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "https://a.example"
        );
        assert_eq!(answer.headers()["access-control-allow-methods"], "GET, PUT");
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    }
}
