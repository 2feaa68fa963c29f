//! Wire types: projects.

use std::collections::BTreeMap;

use crate::wire::{part_of, wire};

wire! {
    /// A project.
    pub struct Project {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
        used_by: Vec<String>,
    }
}

wire! {
    /// What a POST to a project asks for.
    pub struct ProjectPost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of a project.
    pub struct ProjectPut {
        config: BTreeMap<String, String>,
        description: String,
    }
}

wire! {
    /// Run-time state of a project.
    pub struct ProjectState {
        resources: BTreeMap<String, ProjectStateResource>,
    }
}

wire! {
    /// Run-time state of a project: resource.
    pub struct ProjectStateResource {
        #[serde(rename = "Limit")]
        limit: i64,
        #[serde(rename = "Usage")]
        usage: i64,
    }
}

wire! {
    /// A new project, as a client asks for it.
    pub struct ProjectsPost {
        config: BTreeMap<String, String>,
        description: String,
        name: String,
    }
}

part_of! { ProjectPut of Project: config, description }
