//! Which row of the endpoint table a request means.

use lxd_api::endpoints::{ENDPOINTS, Row};
use lxd_model::instances::InstanceType;

/// The old spellings of `/1.0/instances`, each for one type of instance.
const ALIASES: [(&str, InstanceType); 2] = [
    ("/1.0/containers", InstanceType::Container),
    ("/1.0/virtual-machines", InstanceType::VirtualMachine),
];

const INSTANCES: &str = "/1.0/instances";

/// The methods that the API knows; on a path that lacks one of them the answer is 501, as with the reference.
const METHODS: [&str; 6] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"];

/// The table, ready to be searched.
pub(crate) struct Routes {
    paths: matchit::Router<Path>,
}

struct Path {
    rows: Vec<&'static Row>,
    only: Option<InstanceType>,
}

/// What a method and path mean.
#[derive(Debug)]
pub(crate) enum Found {
    /// A row, the values of its path's parameters in order, and the type of instance that an alias stands for.
    Row {
        row: &'static Row,
        values: Vec<String>,
        only: Option<InstanceType>,
    },
    /// The path is there, but has no such method.
    NoMethod,
    /// The method is none of the API's.
    UnknownMethod,
    /// The path is not there.
    NoPath,
}

impl Routes {
    /// All rows of the table and the aliases of the instances' rows.
    #[expect(clippy::expect_used, reason = "the table is constant and a test walks it")]
    pub(crate) fn new() -> Self {
        let mut paths = matchit::Router::new();
        let mut rest = ENDPOINTS;
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|row| row.path == first.path).count();
            let (rows, others) = rest.split_at(count);
            rest = others;
            let rows: Vec<_> = rows.iter().collect();
            if let Some(below) = first.path.strip_prefix(INSTANCES) {
                for (alias, only) in ALIASES {
                    let path = Path {
                        rows: rows.clone(),
                        only: Some(only),
                    };
                    paths
                        .insert(format!("{alias}{below}"), path)
                        .expect("the paths of the table never collide");
                }
            }
            paths
                .insert(first.path, Path { rows, only: None })
                .expect("the paths of the table never collide");
        }
        Self { paths }
    }

    /// Looks up a request by its method and its path as it stands in the request line.
    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        let Ok(found) = self.paths.at(path) else {
            return Found::NoPath;
        };
        // The root answers whatever it is asked, as the reference's does.
        let mut rows = found.value.rows.iter();
        let Some(row) = rows.find(|row| row.method == method || row.path == "/") else {
            return if METHODS.contains(&method) {
                Found::NoMethod
            } else {
                Found::UnknownMethod
            };
        };
        let mut values = Vec::with_capacity(found.params.len());
        for (_, value) in found.params.iter() {
            match percent_decode(value, false) {
                Some(value) => values.push(value),
                None => return Found::NoPath,
            }
        }
        Found::Row {
            row,
            values,
            only: found.value.only,
        }
    }
}

/// Decodes `%41` (and in query strings `+`); `None` when a sequence is broken or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str, in_query: bool) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if in_query => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request path that has a value in place of each parameter.
    fn example(path: &str) -> String {
        path.split('/')
            .map(|part| if part.starts_with('{') { "x%20y" } else { part })
            .collect::<Vec<_>>()
            .join("/")
    }

    #[test]
    fn every_row_of_the_table_is_found() {
        let routes = Routes::new();
        for row in ENDPOINTS {
            let Found::Row {
                row: found,
                values,
                only,
            } = routes.find(row.method, &example(row.path))
            else {
                panic!("{} {} is not routed", row.method, row.path);
            };
            assert_eq!(found.endpoint, row.endpoint);
            assert_eq!(values.len(), row.path.matches('{').count());
            assert!(values.iter().all(|value| value == "x y"));
            assert_eq!(only, None);
        }
    }

    #[test]
    fn instances_have_two_old_names() {
        let routes = Routes::new();
        for (path, wanted) in [
            ("/1.0/containers", InstanceType::Container),
            ("/1.0/containers/c1/state", InstanceType::Container),
            ("/1.0/virtual-machines/v/exec", InstanceType::VirtualMachine),
        ] {
            let method = if path.ends_with("exec") { "POST" } else { "GET" };
            let found = routes.find(method, path);
            assert!(
                matches!(found, Found::Row { only: Some(only), .. } if only == wanted),
                "{path}: {found:?}"
            );
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_told_apart() {
        let routes = Routes::new();
        for path in [
            "/1.0/",
            "/1.0/profiles/",
            "/1.0/profiles//x",
            "/nothing",
            "/1.0/profiles/%zz",
            "/1.0/nothing",
        ] {
            assert!(matches!(routes.find("GET", path), Found::NoPath), "{path}");
        }
        assert!(matches!(routes.find("DELETE", "/1.0"), Found::NoMethod));
        assert!(matches!(routes.find("HEAD", "/"), Found::Row { .. }));
        assert!(matches!(routes.find("TRACE", "/1.0"), Found::UnknownMethod));
        let Found::Row { values, .. } = routes.find("GET", "/1.0/profiles/a%2fb%C3%BC") else {
            panic!("not found")
        };
        assert_eq!(values, ["a/bü"]);
    }
}
