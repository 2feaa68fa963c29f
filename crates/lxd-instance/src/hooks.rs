//! The socket on which containers' hooks report, in datagrams, and who listens to it.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use liblxc::protocol::HookMessage;
use parking_lot::Mutex;
use tokio::net::UnixDatagram;

use crate::instance::Key;

/// Larger than any message: two names, a word or two.
const MESSAGE_LIMIT: usize = 4096;

/// Receives what hooks say, and keeps it until the instance's owner asks.
pub(crate) struct Hooks {
    path: PathBuf,
    socket: UnixDatagram,
    reboots: Mutex<HashMap<Key, ()>>,
}

impl Hooks {
    /// Listens at `path`, in the place of a daemon that is gone.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            path: path.to_owned(),
            socket,
            reboots: Mutex::default(),
        })
    }

    /// Where hooks find the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads messages for as long as the future lives, so that no hook waits for room.
    pub(crate) async fn run(&self) {
        while self.socket.readable().await.is_ok() {
            self.drain();
        }
    }

    /// Whether this instance's last stop asks for a reboot. Forgets it.
    ///
    /// Call it after the monitor has ended: its hook has sent by then.
    pub(crate) fn take_reboot(&self, key: &Key) -> bool {
        self.drain();
        self.reboots.lock().remove(key).is_some()
    }

    /// Takes a report that came another way.
    pub(crate) fn take(&self, message: &HookMessage) {
        let key = Key::new(&message.project, &message.name);
        tracing::debug!(instance = %key, kind = message.kind, target = message.target, "Hook");
        if message.kind == "post-stop" && message.target == "reboot" {
            self.reboots.lock().insert(key, ());
        }
    }

    fn drain(&self) {
        let mut buffer = [0; MESSAGE_LIMIT];
        while let Ok(length) = self.socket.try_recv(&mut buffer) {
            match HookMessage::decode(&buffer[..length]) {
                Ok(message) => self.take(&message),
                Err(error) => tracing::warn!(%error, "Ignored a hook's message"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reboot_is_kept_until_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hooks.socket");
        let hooks = Hooks::listen(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        for (name, target) in [("a", "reboot"), ("b", "stop")] {
            let message = HookMessage {
                project: "default".into(),
                name: name.into(),
                kind: "post-stop".into(),
                target: target.into(),
            };
            sender.send_to(&message.encode(), &path).await.unwrap();
        }
        sender.send_to(b"garbage", &path).await.unwrap();
        tokio::task::yield_now().await;
        hooks.socket.readable().await.unwrap();
        assert!(!hooks.take_reboot(&Key::new("default", "b")));
        assert!(hooks.take_reboot(&Key::new("default", "a")));
        assert!(!hooks.take_reboot(&Key::new("default", "a")));
        drop(hooks);
        assert!(
            sender.send_to(b"x", &path).await.is_err(),
            "a hook sees at once that nobody listens"
        );
        Hooks::listen(&path).unwrap();
    }
}
