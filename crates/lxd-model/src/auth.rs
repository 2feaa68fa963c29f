//! Who may do what: trusted and untrusted callers, and certificates restricted to projects.

use crate::{ErrorKind, Invalid};

/// A permission in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See what is there.
    View,
    /// Start, stop, execute in, snapshot instances.
    OperateInstances,
    /// Create, change and delete instances.
    ManageInstances,
    /// Upload, change and delete images.
    ManageImages,
    /// Create, change and delete networks.
    ManageNetworks,
    /// Create, change and delete profiles.
    ManageProfiles,
    /// Change the project.
    ManageProject,
    /// Create, change and delete custom volumes.
    ManageStorageVolumes,
}

/// A caller, as far as rights go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that is known: only what is public.
    Untrusted,
    /// Known for reading metrics, and nothing else.
    Metrics,
    /// May do anything: the unix socket's group, or a certificate without restriction.
    Admin,
    /// A certificate that is restricted to these projects, in which it may do what their restrictions allow.
    Restricted {
        /// Names of projects.
        projects: Vec<String>,
    },
}

/// The type of a certificate in the trust store, and its number in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateType {
    /// A client's.
    Client,
    /// Another cluster member's.
    Server,
    /// One that may only read metrics.
    Metrics,
}

impl Caller {
    /// Whether the caller is known, apart from metrics readers.
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::Admin | Self::Restricted { .. })
    }

    /// Whether the caller may do anything.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin)
    }

    /// Whether the caller may know that a project exists.
    pub fn sees_project(&self, project: &str) -> bool {
        match self {
            Self::Admin => true,
            Self::Restricted { projects } => projects.iter().any(|name| name == project),
            Self::Untrusted | Self::Metrics => false,
        }
    }

    /// Whether the caller has a permission in a project.
    ///
    /// A restricted one may not change the project itself, which would lift the restrictions, nor networks shared by
    /// others: it manages those only where the project has its own (`own_networks`).
    pub fn allows(&self, project: &str, permission: Permission, own_networks: bool) -> bool {
        let lifts = match permission {
            Permission::ManageProject => true,
            Permission::ManageNetworks => !own_networks,
            _ => false,
        };
        self.sees_project(project) && (self.is_admin() || !lifts)
    }

    /// Refuses unless [`allows`](Self::allows).
    pub fn require(&self, project: &str, permission: Permission, own_networks: bool) -> Result<(), Invalid> {
        if self.allows(project, permission, own_networks) {
            Ok(())
        } else {
            Err(forbidden())
        }
    }

    /// Refuses all but those who may do anything.
    pub fn require_admin(&self) -> Result<(), Invalid> {
        if self.is_admin() { Ok(()) } else { Err(forbidden()) }
    }

    /// Refuses the unknown.
    pub fn require_trusted(&self) -> Result<(), Invalid> {
        if self.is_trusted() {
            Ok(())
        } else {
            Err(forbidden())
        }
    }
}

/// The refusal, in the reference's words.
pub fn forbidden() -> Invalid {
    Invalid::of_kind(ErrorKind::Forbidden, "not authorized")
}

impl CertificateType {
    /// The number in the database.
    pub fn id(self) -> i64 {
        match self {
            Self::Client => 1,
            Self::Server => 2,
            Self::Metrics => 3,
        }
    }

    /// The type with a number.
    pub fn from_id(id: i64) -> Option<Self> {
        [Self::Client, Self::Server, Self::Metrics]
            .into_iter()
            .find(|kind| kind.id() == id)
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Metrics => "metrics",
        }
    }

    /// The type with a word.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let known = [Self::Client, Self::Server, Self::Metrics]
            .into_iter()
            .find(|kind| kind.as_str() == text);
        known.ok_or_else(|| Invalid::new("Unknown certificate type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights() {
        let restricted = Caller::Restricted {
            projects: vec!["p".into()],
        };
        let cases = [
            (&Caller::Admin, "x", Permission::ManageProject, true),
            (&Caller::Untrusted, "p", Permission::View, false),
            (&Caller::Metrics, "p", Permission::View, false),
            (&restricted, "p", Permission::ManageInstances, true),
            (&restricted, "default", Permission::View, false),
            (&restricted, "p", Permission::ManageProject, false),
            (&restricted, "p", Permission::ManageNetworks, false),
        ];
        for (caller, project, permission, wanted) in cases {
            assert_eq!(
                caller.allows(project, permission, false),
                wanted,
                "{caller:?} {permission:?}"
            );
            assert_eq!(caller.require(project, permission, false).is_ok(), wanted);
        }
        assert!(restricted.allows("p", Permission::ManageNetworks, true));
        assert!(restricted.require_admin().is_err() && restricted.require_trusted().is_ok());
        assert_eq!(forbidden().kind(), ErrorKind::Forbidden);
    }
}
