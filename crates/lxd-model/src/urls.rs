//! URLs as they may be shown and logged.

/// A URL, or its path and query, without what lets somebody in: the password in front of the host, secrets in the query.
pub fn shown(url: &str) -> String {
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (url, None),
    };
    let mut shown = without_password(place).unwrap_or_else(|| place.to_owned());
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    for (number, pair) in pairs.enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((key @ ("secret" | "password" | "token"), _)) => {
                shown.push_str(key);
                shown.push_str("=...");
            }
            _ => shown.push_str(pair),
        }
    }
    shown
}

fn without_password(place: &str) -> Option<String> {
    let (scheme, rest) = place.split_once("://")?;
    let end = rest.find(['/', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@')?;
    let (name, _) = user.split_once(':')?;
    Some(format!("{scheme}://{name}:xxxxx@{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_lets_somebody_in_is_not_shown() {
        for (url, expected) in [
            ("/1.0/instances/c1", "/1.0/instances/c1"),
            (
                "/1.0/operations/x/websocket?secret=s3&project=p",
                "/1.0/operations/x/websocket?secret=...&project=p",
            ),
            (
                "wss://a:8443/x?project=p&secret=s",
                "wss://a:8443/x?project=p&secret=...",
            ),
            ("https://me:p%40ss@a.org/x@y", "https://me:xxxxx@a.org/x@y"),
            ("https://me:a@b@a.org?token=t", "https://me:xxxxx@a.org?token=..."),
            ("https://me@a.org/x", "https://me@a.org/x"),
            ("https://a.org/u:p@y", "https://a.org/u:p@y"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
