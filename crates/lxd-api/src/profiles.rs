//! Wire types: profiles.

use std::collections::BTreeMap;

use crate::wire::{part_of, wire};

wire! {
    /// A profile.
    pub struct Profile {
        config: BTreeMap<String, String>,
        description: String,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        name: String,
        used_by: Vec<String>,
    }
}

wire! {
    /// What a POST to a profile asks for.
    pub struct ProfilePost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of a profile.
    pub struct ProfilePut {
        config: BTreeMap<String, String>,
        description: String,
        devices: BTreeMap<String, BTreeMap<String, String>>,
    }
}

wire! {
    /// A new profile, as a client asks for it.
    pub struct ProfilesPost {
        config: BTreeMap<String, String>,
        description: String,
        devices: BTreeMap<String, BTreeMap<String, String>>,
        name: String,
    }
}

part_of! { ProfilePut of Profile: config, description, devices }
