//! Types of instances: words that stand for limits.

use std::io::ErrorKind;
use std::sync::Arc;

use lxd_model::config::Config;
use lxd_model::instances::size::{self, NamedSizes};

use crate::app::App;
use crate::error::Result;

/// The limits that an instance type stands for. The names of clouds' sizes are in a file that the reference fetches; without
/// the file there are none.
///
/// # Errors
/// There is no such type, or more than one.
pub(super) async fn limits(app: &Arc<App>, instance_type: &str) -> Result<Config> {
    Ok(size::limits(instance_type, &named_sizes(app).await)?)
}

async fn named_sizes(app: &Arc<App>) -> NamedSizes {
    let path = app.paths.instance_types();
    let parsed = match tokio::fs::read_to_string(&path).await {
        Ok(text) => NamedSizes::parse(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => return NamedSizes::default(),
        Err(error) => Err(error.to_string()),
    };
    parsed.unwrap_or_else(|err| {
        tracing::warn!(path = %path.display(), err, "Failed reading the named instance types");
        NamedSizes::default()
    })
}
