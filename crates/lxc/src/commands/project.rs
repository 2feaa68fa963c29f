//! Commands about projects.

use std::collections::BTreeMap;

use lxd_api::projects::{Project, ProjectPost, ProjectState, ProjectStateResource, ProjectsPost};
use lxd_client::path;
use serde::Serialize;

use super::configured::Place;
use super::not_yet;
use crate::context::{Context, Resource};
use crate::error::Result;
use crate::key_values::strict_pairs;
use crate::render::{List, bytes_binary, list as print_list, print_line, sort_rows};

/// Runs a command about projects.
pub(super) async fn run(cx: &mut Context, path: &str) -> Result<()> {
    match path {
        "project create" => create(cx).await,
        "project delete" => delete(cx).await,
        "project edit" => place(&project(cx)?).edit::<Project>().await,
        "project get" => get(cx).await,
        "project info" => info(cx).await,
        "project list" => list(cx).await,
        "project rename" => rename(cx).await,
        "project set" => {
            place(&project(cx)?)
                .set_words::<Project>(&cx.arguments()[1..])
                .await
        }
        "project show" => place(&project(cx)?).show::<Project>().await,
        "project switch" => switch(cx).await,
        "project unset" => place(&project(cx)?).unset::<Project>(cx.argument(1)).await,
        _ => not_yet(),
    }
}

fn project(cx: &Context) -> Result<Resource> {
    cx.named(cx.argument(0), "project")
}

fn place(project: &Resource) -> Place<'_> {
    Place {
        client: &project.client,
        path: path(&["projects", &project.name]),
    }
}

async fn create(cx: &Context) -> Result<()> {
    let project = project(cx)?;
    let request = ProjectsPost {
        name: project.name.clone(),
        config: strict_pairs(cx.list("config"), |word| format!("Bad key=value pair: {word}"))?,
        ..ProjectsPost::default()
    };
    project.client.create(&path(&["projects"]), &request).await?;
    cx.tell(&format!("Project {} created", project.name))
}

async fn delete(cx: &mut Context) -> Result<()> {
    let project = project(cx)?;
    project.client.remove(&path(&["projects", &project.name])).await?;
    cx.tell(&format!("Project {} deleted", project.name))?;
    // Commands must not go on in a project that is gone.
    if cx
        .config
        .remotes()
        .get(&project.remote)
        .is_some_and(|remote| remote.project == project.name)
    {
        choose(cx, &project.remote, "default")?;
    }
    Ok(())
}

async fn rename(cx: &Context) -> Result<()> {
    let (project, new) = (project(cx)?, cx.argument(1));
    let request = ProjectPost { name: new.into() };
    let renamed = project
        .client
        .start(&path(&["projects", &project.name]), &request)
        .await?;
    cx.wait(&renamed, "").await?;
    cx.tell(&format!("Project {} renamed to {new}", project.name))
}

async fn get(cx: &Context) -> Result<()> {
    let project = project(cx)?;
    let value = place(&project).value::<Project>(cx.argument(1)).await?;
    print_line(&value.unwrap_or_default())
}

async fn list(cx: &Context) -> Result<()> {
    let remote = cx.resource_or_default(0)?;
    let projects: Vec<Project> = remote.client.get("/1.0/projects?recursion=1").await?;
    let current = match remote.client.project() {
        "" => "default",
        project => project,
    };
    let row = |project: &Project| {
        let mut cells = vec![project.name.clone()];
        if project.name == current {
            cells[0].push_str(" (current)");
        }
        for feature in ["images", "profiles", "storage.volumes", "networks"] {
            let is_on = project
                .config
                .get(&format!("features.{feature}"))
                .is_some_and(|value| is_true(value));
            cells.push(if is_on { "YES" } else { "NO" }.into());
        }
        cells.extend([project.description.clone(), project.used_by.len().to_string()]);
        cells
    };
    let mut rows: Vec<_> = projects.iter().map(row).collect();
    sort_rows(&mut rows);
    let header = [
        "NAME",
        "IMAGES",
        "PROFILES",
        "STORAGE VOLUMES",
        "NETWORKS",
        "DESCRIPTION",
        "USED BY",
    ];
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &projects,
        },
    )
}

fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&value.to_lowercase().as_str())
}

async fn switch(cx: &mut Context) -> Result<()> {
    let project = project(cx)?;
    let _: Project = project.client.get(&path(&["projects", &project.name])).await?;
    choose(cx, &project.remote, &project.name)
}

/// Makes a project the one that commands on a remote work in.
fn choose(cx: &mut Context, remote: &str, project: &str) -> Result<()> {
    if let Some(remote) = cx.config.remotes_mut().get_mut(remote) {
        project.clone_into(&mut remote.project);
    }
    cx.config.save()
}

async fn info(cx: &Context) -> Result<()> {
    let project = project(cx)?;
    let state: ProjectState = project
        .client
        .get(&path(&["projects", &project.name, "state"]))
        .await?;
    let size = |name: &str, value: i64| match name {
        "disk" | "memory" => bytes_binary(value, 2),
        _ => value.to_string(),
    };
    let row = |(name, resource): (&String, &ProjectStateResource)| {
        let limit = if resource.limit < 0 {
            "UNLIMITED".into()
        } else {
            size(name, resource.limit)
        };
        vec![name.to_uppercase(), limit, size(name, resource.usage)]
    };
    let mut rows: Vec<_> = state.resources.iter().map(row).collect();
    sort_rows(&mut rows);
    let header = ["RESOURCE", "LIMIT", "USAGE"];
    if cx.text("format") == "yaml" {
        let lower = |(name, resource): (String, ProjectStateResource)| {
            (
                name,
                Amounts {
                    limit: resource.limit,
                    usage: resource.usage,
                },
            )
        };
        let raw = BTreeMap::from([(
            "resources",
            state.resources.into_iter().map(lower).collect::<BTreeMap<_, _>>(),
        )]);
        return print_list(
            "yaml",
            &List {
                header: &header,
                rows: &rows,
                raw: &raw,
            },
        );
    }
    print_list(
        cx.text("format"),
        &List {
            header: &header,
            rows: &rows,
            raw: &state,
        },
    )
}

/// A resource in YAML, where its fields are in small letters.
#[derive(Serialize)]
struct Amounts {
    limit: i64,
    usage: i64,
}
