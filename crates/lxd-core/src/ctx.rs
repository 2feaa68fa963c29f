//! Who asks for what: the first parameter of every use case.

use crate::events::Requestor;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// The name of the project that always exists.
pub const DEFAULT_PROJECT: &str = lxd_model::projects::DEFAULT;

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process on the unix socket: trusted, as the socket's mode lets only root and its group connect.
    Unix {
        /// The user id of the process.
        uid: u32,
        /// The name of that user (its number where it has none).
        username: String,
    },
    /// A client whose TLS certificate is in the trust list.
    Tls {
        /// SHA-256 of the certificate, in hexadecimal.
        fingerprint: String,
        /// The name of the certificate in the trust list.
        name: String,
        /// Whether the client may see `projects` only.
        restricted: bool,
        /// The projects a restricted client may see.
        projects: Vec<String>,
    },
    /// A client on the network that is not in the trust list.
    Untrusted {
        /// The certificate that it showed, in DER.
        certificate: Option<Vec<u8>>,
    },
    /// The daemon itself: scheduled tasks, recovery.
    Daemon,
}

/// The context of a request.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Who asks.
    pub caller: Caller,
    /// The project that names are looked up in (`?project=`, else `default`).
    pub project: String,
    /// The id of the request in the log.
    pub request_id: String,
    /// The remote address: `@` on the unix socket, `address:port` on the network.
    pub address: String,
    /// The cluster member to act on (`?target=`).
    pub target: Option<String>,
    /// Ends when the request is given up or the daemon stops.
    pub cancel: CancellationToken,
}

impl Ctx {
    /// A request of a caller, in the default project.
    pub fn new(caller: Caller) -> Self {
        Self {
            caller,
            project: DEFAULT_PROJECT.into(),
            request_id: String::new(),
            address: String::new(),
            target: None,
            cancel: CancellationToken::new(),
        }
    }

    /// Work of the daemon's own, in a project.
    pub fn daemon(project: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            ..Self::new(Caller::Daemon)
        }
    }

    /// The same context in another project.
    #[must_use]
    pub fn in_project(&self, project: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            ..self.clone()
        }
    }

    /// Whether the caller is known.
    pub fn is_trusted(&self) -> bool {
        !matches!(self.caller, Caller::Untrusted { .. })
    }

    /// Whether the caller may change the server itself: anybody trusted who is not restricted to projects.
    pub fn is_admin(&self) -> bool {
        match &self.caller {
            Caller::Unix { .. } | Caller::Daemon => true,
            Caller::Tls { restricted, .. } => !restricted,
            Caller::Untrusted { .. } => false,
        }
    }

    /// Whether the caller may see a project.
    pub fn may_see_project(&self, project: &str) -> bool {
        match &self.caller {
            Caller::Tls {
                restricted: true,
                projects,
                ..
            } => projects.iter().any(|p| p == project),
            _ => self.is_trusted(),
        }
    }

    /// Refuses callers that are not known.
    ///
    /// # Errors
    /// Forbidden.
    pub fn require_trusted(&self) -> Result<()> {
        if self.is_trusted() {
            Ok(())
        } else {
            Err(not_authorized())
        }
    }

    /// Refuses callers that may not change the server itself.
    ///
    /// # Errors
    /// Forbidden.
    pub fn require_admin(&self) -> Result<()> {
        if self.is_admin() {
            Ok(())
        } else {
            Err(not_authorized())
        }
    }

    /// Refuses callers that may not see the context's project.
    ///
    /// # Errors
    /// Forbidden.
    pub fn require_project(&self) -> Result<()> {
        if self.may_see_project(&self.project) {
            Ok(())
        } else {
            Err(not_authorized())
        }
    }

    /// Who asked, as lifecycle events name them; `None` for the daemon itself.
    pub fn requestor(&self) -> Option<Requestor> {
        let (username, protocol) = match &self.caller {
            Caller::Unix { username, .. } => (username.clone(), "unix"),
            Caller::Tls { fingerprint, .. } => (fingerprint.clone(), "tls"),
            Caller::Untrusted { .. } => (String::new(), ""),
            Caller::Daemon => return None,
        };
        Some(Requestor {
            username,
            protocol: protocol.into(),
            address: self.address.clone(),
        })
    }
}

/// The reference's answer to whom it does not let in.
fn not_authorized() -> Error {
    Error::forbidden("not authorized")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(restricted: bool) -> Ctx {
        Ctx::new(Caller::Tls {
            fingerprint: "ab".into(),
            name: "n".into(),
            restricted,
            projects: vec!["p1".into()],
        })
    }

    #[test]
    fn who_may_do_what() {
        let unix = Ctx::new(Caller::Unix {
            uid: 0,
            username: "root".into(),
        });
        let untrusted = Ctx::new(Caller::Untrusted { certificate: None });
        for (ctx, trusted, admin, p1, p2) in [
            (unix, true, true, true, true),
            (tls(false), true, true, true, true),
            (tls(true), true, false, true, false),
            (untrusted, false, false, false, false),
            (Ctx::daemon("p1"), true, true, true, true),
        ] {
            assert_eq!(ctx.is_trusted(), trusted);
            assert_eq!(ctx.require_admin().is_ok(), admin);
            assert_eq!((ctx.may_see_project("p1"), ctx.may_see_project("p2")), (p1, p2));
        }
    }

    #[test]
    fn requestors_are_named_as_the_reference_names_them() {
        let mut ctx = Ctx::new(Caller::Unix {
            uid: 0,
            username: "root".into(),
        });
        ctx.address = "@".into();
        let json = serde_json::to_string(&ctx.requestor()).unwrap();
        assert_eq!(json, r#"{"username":"root","protocol":"unix","address":"@"}"#);
        assert_eq!(Ctx::daemon("default").requestor(), None);
    }
}
