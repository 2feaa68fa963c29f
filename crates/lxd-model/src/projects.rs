//! Projects: their features, and where the things of a project live.

use crate::Invalid;
use crate::config::{Config, is_true};

/// The project that is always there and has everything.
pub const DEFAULT: &str = "default";

/// What a project may have of its own; what it hasn't, it shares with the default project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Images and aliases.
    Images,
    /// Profiles.
    Profiles,
    /// Custom storage volumes.
    StorageVolumes,
    /// Networks.
    Networks,
}

impl Feature {
    /// The configuration key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Images => "features.images",
            Self::Profiles => "features.profiles",
            Self::StorageVolumes => "features.storage.volumes",
            Self::Networks => "features.networks",
        }
    }
}

/// The features of a new project, where the request doesn't say otherwise.
pub const NEW_FEATURES: &[Feature] = &[Feature::Images, Feature::Profiles, Feature::StorageVolumes];

/// Fills in the features of a new project.
pub fn with_default_features(mut config: Config) -> Config {
    for feature in NEW_FEATURES {
        config
            .entry(feature.key().to_owned())
            .or_insert_with(|| "true".to_owned());
    }
    config
}

/// The project in which the things of a feature live, for a request in `project` with this configuration.
pub fn home<'p>(project: &'p str, config: &Config, feature: Feature) -> &'p str {
    let own = config.get(feature.key()).is_some_and(|value| is_true(value));
    if project == DEFAULT || own {
        project
    } else {
        DEFAULT
    }
}

/// A name on disk, in cgroups and in dnsmasq's files, for instances: `PROJECT_NAME`, bare in the default project.
pub fn instance_path(project: &str, name: &str) -> String {
    if project == DEFAULT {
        name.to_owned()
    } else {
        format!("{project}_{name}")
    }
}

/// A name on disk and in texts for custom storage volumes: always `PROJECT_NAME`.
pub fn volume_path(project: &str, name: &str) -> String {
    format!("{project}_{name}")
}

/// The project and name of an instance's name on disk.
pub fn split_instance_path(path: &str) -> (&str, &str) {
    // Instances' names have no underscore, projects' neither.
    path.split_once('_').unwrap_or((DEFAULT, path))
}

/// Checks a change of features: they are fixed once the project holds anything.
pub fn check_feature_change(old: &Config, new: &Config, empty: bool) -> Result<(), Invalid> {
    let features = [
        Feature::Images,
        Feature::Profiles,
        Feature::StorageVolumes,
        Feature::Networks,
    ];
    let on =
        |config: &Config, feature: Feature| config.get(feature.key()).is_some_and(|value| is_true(value));
    match !empty
        && features
            .into_iter()
            .any(|feature| on(old, feature) != on(new, feature))
    {
        true => Err(Invalid::new(
            "Project features cannot be changed on non-empty projects",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_live_in_the_default_project_unless_the_feature_is_on() {
        let config =
            with_default_features(Config::from([("features.images".to_owned(), "false".to_owned())]));
        assert_eq!(home("p", &config, Feature::Images), "default");
        assert_eq!(home("p", &config, Feature::Profiles), "p");
        assert_eq!(home("p", &config, Feature::Networks), "default");
        assert_eq!(home("default", &Config::new(), Feature::Networks), "default");
    }

    #[test]
    fn names_on_disk_go_both_ways() {
        assert_eq!(instance_path("default", "c1"), "c1");
        assert_eq!(instance_path("p", "c1"), "p_c1");
        assert_eq!(split_instance_path("p_c1"), ("p", "c1"));
        assert_eq!(split_instance_path("c1"), ("default", "c1"));
        assert_eq!(volume_path("default", "v"), "default_v");
    }

    #[test]
    fn features_are_fixed_once_used() {
        let (off, on) = (Config::new(), with_default_features(Config::new()));
        assert!(check_feature_change(&off, &on, false).is_err());
        assert!(check_feature_change(&off, &on, true).is_ok());
        assert!(check_feature_change(&on, &on, false).is_ok());
    }
}
