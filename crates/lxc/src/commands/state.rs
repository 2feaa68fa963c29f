//! `lxc start`, `stop`, `restart` and `pause`: the states of instances.

use futures::future::join_all;
use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::Instance;
use lxd_client::{Client, path};

use crate::context::{Context, Resource};
use crate::error::{Error, Result};

/// One of the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// `lxc start`, for stopped and paused instances.
    Start,
    /// `lxc stop`.
    Stop,
    /// `lxc restart`.
    Restart,
    /// `lxc pause`.
    Pause,
}

impl Action {
    /// What the API calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Pause => "freeze",
        }
    }

    /// What the user calls it.
    fn word(self) -> &'static str {
        if self == Self::Pause { "pause" } else { self.name() }
    }

    /// Whether it is for an instance in a state, where the user says `--all`.
    fn is_for(self, status: &str) -> bool {
        match self {
            Self::Start => matches!(status, "Stopped" | "Frozen"),
            Self::Stop => matches!(status, "Running" | "Frozen"),
            Self::Restart | Self::Pause => status == "Running",
        }
    }
}

/// Changes the state of the named instances, side by side.
pub(crate) async fn change(cx: &Context, action: Action) -> Result<()> {
    check_flags(cx, action)?;
    let instances = if cx.switch("all") {
        everything(cx, action).await?
    } else {
        named(cx)?
    };
    if cx.given("console") && instances.len() != 1 {
        return Err(Error::message("--console only works with a single instance"));
    }
    let each = instances.iter().map(|instance| change_one(cx, action, instance));
    let results: Vec<Result<()>> = join_all(each).await;
    if instances.len() == 1 {
        return results.into_iter().collect();
    }
    let mut failed = false;
    for (instance, result) in instances.iter().zip(results) {
        if let Err(error) = result {
            failed = true;
            eprintln!("{}: error: {error}", instance.name);
        }
    }
    if !failed {
        return Ok(());
    }
    eprintln!();
    Err(Error::message(format!(
        "Some instances failed to {}",
        action.word()
    )))
}

/// Adds to an error where to find out more, as in the log of an instance that does not start.
pub(crate) fn with_hint(error: Error, client: &Client, name: &str) -> Error {
    let remote = if client.is_local() {
        String::new()
    } else {
        String::new()
    };
    match error {
        Error::Server(lxd_client::Error::Failed { text, .. }) => Error::message(format!(
            "{text}\nTry `lxc info --show-log {remote}{name}` for more info"
        )),
        other => other,
    }
}

fn check_flags(cx: &Context, action: Action) -> Result<()> {
    if cx.given("console") {
        let console = cx.text("console");
        if !matches!(console, "console" | "vga") {
            return Err(Error::message(format!("Unknown console type {console:?}")));
        }
    }
    if cx.switch("all") && !cx.arguments().is_empty() {
        return Err(Error::message("Both --all and instance name given"));
    }
    if action == Action::Stop && cx.switch("stateful") && cx.switch("force") {
        return Err(Error::message("Can't use --stateful and --force together"));
    }
    Ok(())
}

fn named(cx: &Context) -> Result<Vec<Resource>> {
    if cx.arguments().is_empty() {
        return Err(Error::Help);
    }
    cx.arguments().iter().map(|word| cx.resource(word)).collect()
}

/// All instances of the default remote that the action is for.
async fn everything(cx: &Context, action: Action) -> Result<Vec<Resource>> {
    let here = cx.resource("")?;
    let all: Vec<Instance> = here
        .client
        .get(&format!("{}?recursion=1", path(&["instances"])))
        .await?;
    let wanted = all.into_iter().filter(|instance| action.is_for(&instance.status));
    Ok(wanted
        .map(|instance| Resource {
            name: instance.name,
            ..here.clone()
        })
        .collect())
}

async fn change_one(cx: &Context, action: Action, instance: &Resource) -> Result<()> {
    let Resource { client, name, .. } = instance;
    if name.is_empty() {
        return Err(Error::message(format!(
            "Must supply instance name for: {:?}",
            instance.remote
        )));
    }
    let mut change = InstanceStatePut {
        action: action.name().into(),
        timeout: -1,
        force: cx.switch("force"),
        ..InstanceStatePut::default()
    };
    match action {
        Action::Start => {
            let (current, _) = client.instance(name).await?;
            if current.status == "Frozen" {
                change.action = "unfreeze".into();
            }
            change.stateful = current.stateful && !cx.switch("stateless");
        }
        Action::Stop => change.stateful = cx.switch("stateful"),
        Action::Restart | Action::Pause => {}
    }
    if cx.given("timeout") {
        change.timeout = cx.number("timeout");
    }
    let background = client.change_instance_state(name, &change).await?;
    cx.wait(&background, "")
        .await
        .map_err(|error| with_hint(error, client, name))?;
    if cx.given("console") {
        return super::not_yet();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_those_that_can() {
        assert!(Action::Start.is_for("Frozen") && !Action::Start.is_for("Running"));
        assert!(Action::Stop.is_for("Running") && !Action::Stop.is_for("Stopped"));
        assert!(Action::Pause.is_for("Running") && !Action::Pause.is_for("Frozen"));
    }

    #[test]
    fn only_failed_operations_have_a_log() {
        let client = Client::unix("/x");
        let failed = Error::Server(lxd_client::Error::Failed {
            code: 400,
            text: "No".into(),
        });
        assert_eq!(
            with_hint(failed, &client, "c1").to_string(),
            "No\nTry `lxc info --show-log c1` for more info"
        );
        let refused = Error::Server(lxd_client::Error::Refused {
            code: 404,
            text: "Instance not found".into(),
        });
        assert_eq!(
            with_hint(refused, &client, "c1").to_string(),
            "Instance not found"
        );
    }
}
