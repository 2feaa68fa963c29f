//! `/1.0/instances`, also as `/1.0/containers` and `/1.0/virtual-machines`.

use lxd_api::instances::{Instance, InstanceFull, InstancesPut};
use lxd_core::instances::{self, Wanted, backups};
use lxd_core::urls;
use lxd_model::ErrorKind;
use lxd_model::instances::InstanceType;

use crate::http::answer::{self, Outcome};
use crate::http::error::Failure;
use crate::http::request::Call;

/// Lists instances.
pub(super) async fn list(call: Call) -> Outcome {
    let wanted = wanted(&call)?;
    let filter = call.filter()?;
    let noun = noun(&call);
    let url = |project: &str, name: &str| urls::object(project, &[noun, name]);
    match (call.recursion(), &filter) {
        (0, None) => {
            let names = instances::names(&call.app, &call.ctx, wanted).await?;
            let urls: Vec<String> = names.iter().map(|(project, name)| url(project, name)).collect();
            answer::sync(&urls)
        }
        (depth @ 0..2, filter) => {
            let all = instances::list(&call.app, &call.ctx, wanted).await?;
            answer::list(&all, filter.as_ref(), depth > 0, |one: &Instance| {
                url(&one.project, &one.name)
            })
        }
        (_, filter) => {
            let all = instances::list_full(&call.app, &call.ctx, wanted).await?;
            answer::list(&all, filter.as_ref(), true, |one: &InstanceFull| {
                url(&one.project, &one.name)
            })
        }
    }
}

/// Makes an instance.
pub(super) async fn create(mut call: Call) -> Outcome {
    if call.query("target").is_some_and(|member| !member.is_empty()) {
        return Err(Failure::bad_request("Target only allowed when clustered"));
    }
    if call.content_type() == "application/octet-stream" {
        return restore(call).await;
    }
    let mut post: lxd_api::instances::InstancesPost = call.json().await?;
    if let Some(only) = call.only.filter(|_| post.r#type.is_empty()) {
        only.as_str().clone_into(&mut post.r#type);
    }
    answer::in_background(&instances::create(&call.app, &call.ctx, post).await?)
}

/// Makes an instance of a backup's file.
async fn restore(mut call: Call) -> Outcome {
    let text = |name| call.header(name).unwrap_or_default().to_owned();
    let request = backups::Request {
        name: text("x-lxd-name"),
        pool: text("x-lxd-pool"),
    };
    let stream = call.body_stream();
    let archive = backups::receive(&call.app, &call.ctx, stream).await?;
    answer::in_background(&backups::import(&call.app, &call.ctx, archive, request).await?)
}

/// Changes what all instances do.
pub(super) async fn change_all(mut call: Call) -> Outcome {
    let put: InstancesPut = call.json().await?;
    answer::in_background(&instances::change_all(&call.app, &call.ctx, put.state).await?)
}

/// Shows an instance.
pub(super) async fn get(call: Call) -> Outcome {
    let [name] = call.params();
    if call.recursion() > 0 {
        return answer::tagged(&instances::get_full(&call.app, &call.ctx, name, call.only).await?);
    }
    answer::tagged(&instances::get(&call.app, &call.ctx, name, call.only).await?)
}

/// Replaces what can be written of an instance.
pub(super) async fn update(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    answer::in_background(&instances::update(&call.app, &call.ctx, name, put, call.if_match()).await?)
}

/// Changes parts of an instance.
pub(super) async fn patch(mut call: Call) -> Outcome {
    let patch = call.patch::<lxd_api::instances::InstancePut>().await?;
    let [name] = call.params();
    instances::patch(&call.app, &call.ctx, name, patch, call.if_match()).await?;
    answer::empty()
}

/// Renames an instance.
pub(super) async fn rename(mut call: Call) -> Outcome {
    let post = call.json().await?;
    let [name] = call.params();
    answer::in_background(&instances::rename(&call.app, &call.ctx, name, post).await?)
}

/// Deletes an instance.
pub(super) async fn delete(call: Call) -> Outcome {
    let [name] = call.params();
    answer::in_background(&instances::delete(&call.app, &call.ctx, name).await?)
}

/// Shows what an instance does and uses.
pub(super) async fn state(call: Call) -> Outcome {
    let [name] = call.params();
    answer::sync(&instances::state(&call.app, &call.ctx, name, call.only).await?)
}

/// Changes what an instance does.
pub(super) async fn change(mut call: Call) -> Outcome {
    let put = call.json().await?;
    let [name] = call.params();
    answer::in_background(&instances::change(&call.app, &call.ctx, name, put).await?)
}

/// Runs a program in an instance.
pub(super) async fn exec(mut call: Call) -> Outcome {
    let post = call.json_alone().await?;
    let [name] = call.params();
    answer::in_background(&instances::exec(&call.app, &call.ctx, name, post).await?)
}

/// Lets a client sit at the console of an instance.
pub(super) async fn console(mut call: Call) -> Outcome {
    let post = call.json_alone().await?;
    let [name] = call.params();
    answer::in_background(&instances::console(&call.app, &call.ctx, name, post).await?)
}

/// The word for instances in this request's path.
pub(super) fn noun(call: &Call) -> &'static str {
    match call.only {
        None => "instances",
        Some(InstanceType::Container) => "containers",
        Some(InstanceType::VirtualMachine) => "virtual-machines",
    }
}

fn wanted(call: &Call) -> Result<Wanted, Failure> {
    let asked = call.query("instance-type").filter(|word| !word.is_empty());
    let asked = asked.map(|word| InstanceType::parse(&word)).transpose();
    // The reference blames itself for a type that it does not know.
    let asked = asked.map_err(|invalid| invalid.into_kind(ErrorKind::Internal))?;
    Ok(Wanted {
        all_projects: call.all_projects_or_one()?,
        kind: call.only.or(asked),
    })
}
