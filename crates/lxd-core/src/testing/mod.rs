//! A whole daemon in a temporary directory, for tests of use cases in this crate and others.

#[cfg(test)]
pub(crate) mod disk;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::app::{App, StartOptions};
use crate::ctx::{Caller, Ctx};
use crate::events::{Hub, Subscription, Wanted};
use crate::operations::Faults;

/// A daemon without listeners. Its directory goes with it.
pub struct TestApp {
    app: Arc<App>,
    area: Area,
}

/// Where it lives: what is mounted beneath goes before the directory, after a failed test too.
struct Area(tempfile::TempDir);

impl Drop for Area {
    fn drop(&mut self) {
        lxd_sys::mount::detach_beneath(self.0.path());
    }
}

impl TestApp {
    /// Starts a daemon on an empty directory.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        Self::start_on(Area(dir)).await
    }

    /// The same on a file system of the test's own.
    #[cfg(test)]
    pub(crate) async fn start_beneath(directory: &std::path::Path) -> Self {
        let dir = tempfile::tempdir_in(directory).unwrap();
        Self::start_on(Area(dir)).await
    }

    /// Stops the daemon and starts another on the same directory.
    pub async fn restart(self) -> Self {
        self.app.stop(Duration::from_secs(1)).await;
        let Self { app, area } = self;
        drop(app);
        Self::start_on(area).await
    }

    async fn start_on(area: Area) -> Self {
        let options = StartOptions {
            dir: area.0.path().into(),
            events: Hub::new(),
            faults: Faults::none(),
        };
        match App::start(options).await {
            Ok(app) => Self { app, area },
            Err(error) => panic!("the daemon did not start: {}", error.text()),
        }
    }

    /// Listens to everything.
    pub fn listen(&self) -> Subscription {
        self.app
            .events
            .subscribe(Wanted::new(&crate::events::EventType::ALL, None))
    }
}

impl Deref for TestApp {
    type Target = Arc<App>;

    fn deref(&self) -> &Arc<App> {
        &self.app
    }
}

/// A request of root over the unix socket, in the default project.
pub fn root() -> Ctx {
    Ctx {
        address: "@".into(),
        ..Ctx::new(Caller::Unix {
            uid: 0,
            username: "root".into(),
        })
    }
}

/// A request of a TLS client that is restricted to some projects, in the first of them.
pub fn restricted(projects: &[&str]) -> Ctx {
    let caller = Caller::Tls {
        fingerprint: "ab".repeat(32),
        name: "restricted".into(),
        restricted: true,
        projects: projects.iter().map(|project| (*project).to_owned()).collect(),
    };
    Ctx::new(caller).in_project(projects.first().copied().unwrap_or_default())
}

/// The next event, decoded.
pub async fn next_event(listener: &mut Subscription) -> Value {
    let message = listener
        .recv()
        .await
        .unwrap_or_else(|| panic!("the listener was cut off"));
    serde_json::from_slice(&message).unwrap_or_else(|error| panic!("an event is not JSON: {error}"))
}
