//! A request as handlers see it: who asks for what, with the parameters, the query and the body within reach.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, Uri};
use hyper::upgrade::OnUpgrade;
use lxd_core::{App, Ctx};
use lxd_model::filter::Filter;
use lxd_model::instances::InstanceType;
use serde::de::DeserializeOwned;

use super::body;
use super::error::Failure;
use super::linger::Lent;
use super::routes::percent_decode;
use super::service::Edge;

/// A request on its way to a handler.
pub(crate) struct Call {
    /// The daemon's HTTP side: stopping, listeners.
    pub(crate) edge: Arc<Edge>,
    /// The daemon.
    pub(crate) app: Arc<App>,
    /// Who asks, in which project.
    pub(crate) ctx: Ctx,
    /// The type of instance that an alias path such as `/1.0/containers` stands for.
    pub(crate) only: Option<InstanceType>,
    pub(super) values: Vec<String>,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Lent>,
    /// The connection itself, for other protocols; they take it.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Call {
    /// The path's parameters in order, decoded: `let [name] = call.params();`. Missing ones are empty.
    pub(crate) fn params<const N: usize>(&self) -> [&str; N] {
        std::array::from_fn(|index| self.values.get(index).map_or("", String::as_str))
    }

    /// A parameter of the query string.
    pub(crate) fn query(&self, key: &str) -> Option<String> {
        query(self.uri.query()?, key)
    }

    /// A parameter of the query string that says yes or no; absent and unreadable ones say no.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.query(key)
            .is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on"))
    }

    /// How deep lists go: `?recursion=`, 0 when absent or unreadable.
    pub(crate) fn recursion(&self) -> u8 {
        let asked: Option<i64> = self.query("recursion").and_then(|value| value.parse().ok());
        asked.map_or(0, |depth| u8::try_from(depth).unwrap_or(1))
    }

    /// Whether lists span all projects.
    pub(crate) fn all_projects(&self) -> bool {
        self.flag("all-projects")
    }

    /// The same where naming a project as well is refused.
    pub(crate) fn all_projects_or_one(&self) -> Result<bool, Failure> {
        if self.all_projects() && self.query("project").is_some_and(|project| !project.is_empty()) {
            return Err(Failure::bad_request(
                "Cannot specify a project when requesting all projects",
            ));
        }
        Ok(self.all_projects())
    }

    /// The filter of `?filter=`.
    pub(crate) fn filter(&self) -> Result<Option<Filter>, Failure> {
        match self.query("filter").filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some(Filter::parse(&text)?)),
            None => Ok(None),
        }
    }

    /// A header, when it is there and readable as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The state of the object that the caller wants to change, as its `ETag` named it.
    pub(crate) fn if_match(&self) -> Option<&str> {
        self.header(IF_MATCH.as_str())
    }

    /// The content type without its parameters; empty when there is none.
    pub(crate) fn content_type(&self) -> &str {
        let value = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    /// Reads and decodes a JSON body. Unknown fields are ignored, as with the reference.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        body::json(&self.body_bytes().await?)
    }

    /// The same where nothing may follow.
    pub(crate) async fn json_alone<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        body::json_alone(&self.body_bytes().await?)
    }

    /// What a PATCH names of an object that is written as `P`.
    pub(crate) async fn patch<P: DeserializeOwned>(&mut self) -> Result<serde_json::Value, Failure> {
        let bytes = self.body_bytes().await?;
        let patch = body::json(&bytes)?;
        body::json::<P>(&bytes)?;
        Ok(patch)
    }

    /// The whole body, up to the size that JSON may have.
    pub(crate) async fn body_bytes(&mut self) -> Result<bytes::Bytes, Failure> {
        match self.body.take() {
            Some(body) => body::whole(body).await,
            None => Ok(bytes::Bytes::new()),
        }
    }

    /// The body as a stream of chunks; for what may be large.
    pub(crate) fn body_stream(&mut self) -> body::Upload {
        body::Upload::new(self.body.take())
    }

    /// The body as a multipart form.
    pub(crate) fn multipart(&mut self) -> Result<multer::Multipart<'static>, Failure> {
        let content_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let boundary =
            multer::parse_boundary(content_type).map_err(|error| Failure::bad_request(error.to_string()))?;
        Ok(multer::Multipart::new(self.body_stream(), boundary))
    }
}

/// The first value of a key in a query string.
pub(super) fn query(query: &str, key: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(name, true)?;
        if name == key {
            percent_decode(value, true)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded() {
        let text = "a=1&filter=name+eq%20c1&b&b=2&%63=3&bad=%zz";
        assert_eq!(query(text, "a").as_deref(), Some("1"));
        assert_eq!(query(text, "filter").as_deref(), Some("name eq c1"));
        assert_eq!(query(text, "b").as_deref(), Some(""));
        assert_eq!(query(text, "c").as_deref(), Some("3"));
        assert_eq!(query(text, "bad"), None);
        assert_eq!(query(text, "none"), None);
    }
}
