//! `lxc start`, `stop`, `restart` and `pause`: the states of instances.

use futures::future::join_all;
use lxd_api::instance_state::InstanceStatePut;
use lxd_api::instances::{Instance, InstancesPut};
use lxd_client::{Etag, path};

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

/// What needs no further explanation.
const SETTLED: &[&str] = &[
    "The instance is already running",
    "The instance is already stopped",
    "The container isn't running",
    "The container is already frozen",
    "Unable to perform container live migration. CRIU isn't installed",
];

/// Changes the state of the named instances, side by side, or of all at once.
pub(crate) async fn change(cx: &Context, action: Action) -> Result<()> {
    check_flags(cx, action)?;
    let instances = if cx.switch("all") {
        match all_at_once(cx, action).await? {
            None => return Ok(()),
            Some(instances) => instances,
        }
    } else {
        named(cx)?
    };
    let each = instances.iter().map(|instance| change_one(cx, action, instance));
    let results: Vec<Result<()>> = join_all(each).await;
    if let [instance] = instances.as_slice() {
        results.into_iter().collect::<Result<()>>()?;
        if cx.given("console") {
            super::console::attach(&instance.client, &instance.name, cx.text("console")).await?;
        }
        return Ok(());
    }
    let mut failed = false;
    for (instance, result) in instances.iter().zip(results) {
        if let Err(error) = result {
            failed = true;
            eprintln!("{}", prefixed(&instance.name, &error.to_string()));
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

/// An error with the instance's name before each line.
fn prefixed(name: &str, error: &str) -> String {
    let mut lines = error.lines();
    let first = format!("{name}: error: {}", lines.next().unwrap_or_default());
    lines.fold(first, |text, line| format!("{text}\n{name}: {line}"))
}

/// Adds to an error where to find out more, as in the log of an instance that does not start.
pub(crate) fn with_hint(error: Error, name: &str) -> Error {
    match error {
        Error::Server(lxd_client::Error::Failed { text, .. }) if !is_settled(&text) => {
            Error::message(format!("{text}\nTry `lxc info --show-log {name}` for more info"))
        }
        other => other,
    }
}

/// Whether the log has nothing to tell about a failure.
fn is_settled(text: &str) -> bool {
    SETTLED.contains(&text) || text.ends_with(" operation") && text.contains("Instance is busy running a ")
}

fn check_flags(cx: &Context, action: Action) -> Result<()> {
    if cx.switch("all") && !cx.arguments().is_empty() {
        return Err(Error::message("Both --all and instance name given"));
    }
    if cx.given("console") {
        check_console(cx, action)?;
    }
    Ok(())
}

fn check_console(cx: &Context, action: Action) -> Result<()> {
    let console = cx.text("console");
    let text = if cx.switch("all") {
        "--console can't be used with --all".to_owned()
    } else if cx.arguments().len() != 1 {
        "--console only works with a single instance".to_owned()
    } else if action == Action::Stop && cx.switch("force") {
        "--console can't be used while forcing instance shutdown".to_owned()
    } else if !matches!(console, "console" | "vga") {
        format!("Unknown console type {console:?}")
    } else {
        return Ok(());
    };
    Err(Error::message(text))
}

fn named(cx: &Context) -> Result<Vec<Resource>> {
    if cx.arguments().is_empty() {
        return Err(Error::Usage);
    }
    cx.arguments().iter().map(|word| cx.resource(word)).collect()
}

/// Changes all instances of the default remote in one request; gives them where the server can't do that.
async fn all_at_once(cx: &Context, action: Action) -> Result<Option<Vec<Resource>>> {
    let here = cx.resource("")?;
    let request = InstancesPut {
        state: request(cx, action),
    };
    match here
        .client
        .update(&path(&["instances"]), &request, &Etag::default())
        .await
    {
        Ok(background) => match cx.wait(&background, "").await {
            Ok(_) => Ok(None),
            Err(error) => Err(Error::message(format!("{}: {error}", here.remote))),
        },
        Err(error) if matches!(error.code(), 404 | 405 | 501) => everything(action, &here).await.map(Some),
        Err(error) => Err(error.into()),
    }
}

/// All instances that the action is for.
async fn everything(action: Action, here: &Resource) -> Result<Vec<Resource>> {
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

/// What the flags ask for. Time-outs are for what can take long: stopping.
fn request(cx: &Context, action: Action) -> InstanceStatePut {
    let timeout = if matches!(action, Action::Stop | Action::Restart) {
        cx.number("timeout")
    } else {
        0
    };
    InstanceStatePut {
        action: action.name().into(),
        timeout,
        force: cx.switch("force"),
        stateful: action == Action::Stop && cx.switch("stateful"),
    }
}

async fn change_one(cx: &Context, action: Action, instance: &Resource) -> Result<()> {
    let Resource { client, name, .. } = instance;
    if name.is_empty() {
        return Err(Error::message(format!(
            "Must supply instance name for: {:?}",
            instance.remote
        )));
    }
    let mut change = request(cx, action);
    if action == Action::Start {
        let (current, _) = client.instance(name).await?;
        if current.status == "Frozen" {
            change.action = "unfreeze".into();
        }
        change.stateful = current.stateful && !cx.switch("stateless");
    }
    let background = client.change_instance_state(name, &change).await?;
    cx.wait(&background, "")
        .await
        .map_err(|error| with_hint(error, name))?;
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
    fn each_line_names_the_instance() {
        assert_eq!(prefixed("c1", "No\nTry it"), "c1: error: No\nc1: Try it");
    }

    #[test]
    fn only_failed_operations_have_a_log() {
        let failed = Error::Server(lxd_client::Error::Failed {
            code: 400,
            text: "No".into(),
        });
        assert_eq!(
            with_hint(failed, "c1").to_string(),
            "No\nTry `lxc info --show-log c1` for more info"
        );
        let refused = Error::Server(lxd_client::Error::Refused {
            code: 404,
            text: "Instance not found".into(),
        });
        assert_eq!(with_hint(refused, "c1").to_string(), "Instance not found");
    }
}
