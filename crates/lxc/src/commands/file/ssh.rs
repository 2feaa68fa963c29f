//! The SSH listener of `lxc file mount`: every SFTP session of a client becomes one with the instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lxd_client::Client;
use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet, SshId};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};

use crate::error::{Error, Result};
use crate::render::print_line;

/// How long a wrong password takes to be refused, so that guessing is slow.
const REFUSAL: Duration = Duration::from_secs(1);

/// How many passwords a connection may try.
const ATTEMPTS: usize = 6;

/// What clients must know.
#[derive(Debug, Clone)]
pub(super) struct Login {
    /// The user's name.
    pub(super) user: String,
    /// The password.
    pub(super) password: String,
}

impl Login {
    /// A login that nobody guesses; the user's name may be given.
    ///
    /// # Errors
    /// When the kernel has no random bytes.
    pub(super) fn new(user: &str) -> Result<Self> {
        let user = match user {
            "" => random_word(8)?,
            user => user.to_owned(),
        };
        Ok(Self {
            user,
            password: random_word(8)?,
        })
    }

    fn fits(&self, user: &str, password: &str) -> bool {
        let user = self.user.as_bytes().ct_eq(user.as_bytes());
        (user & self.password.as_bytes().ct_eq(password.as_bytes())).into()
    }
}

/// Serves the files of an instance until the listener breaks.
///
/// # Errors
/// When there is no key to be had.
pub(super) async fn serve(
    listener: TcpListener,
    client: &Client,
    instance: &str,
    login: Option<Login>,
) -> Result<()> {
    let config = Arc::new(config(login.is_some())?);
    loop {
        let (stream, peer) = listener.accept().await.map_err(|source| Error::Terminal {
            doing: "Failed to accept incoming connection",
            source,
        })?;
        let guest = Guest {
            client: client.clone(),
            instance: instance.to_owned(),
            peer: peer.to_string(),
            login: login.clone(),
            admitted: Arc::default(),
            channels: HashMap::new(),
        };
        tokio::spawn(attend(config.clone(), stream, guest));
    }
}

fn config(wants_login: bool) -> Result<Config> {
    let curve = EcdsaCurve::NistP384;
    let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ecdsa { curve })
        .map_err(|error| Error::message(format!("Failed generating SSH host key: {error}")))?;
    let method = match wants_login {
        true => MethodKind::Password,
        false => MethodKind::None,
    };
    Ok(Config {
        server_id: SshId::Standard("SSH-2.0-LXD".into()),
        methods: MethodSet::from(&[method][..]),
        keys: vec![key],
        auth_rejection_time: REFUSAL,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: ATTEMPTS,
        // A mounted folder that nobody looks at stays mounted.
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    })
}

/// One connection, from its first byte to its last.
async fn attend(config: Arc<Config>, stream: TcpStream, guest: Guest) {
    let (peer, admitted) = (guest.peer.clone(), Arc::clone(&guest.admitted));
    let _ = print_line(&format!("SSH client connected {peer:?}"));
    // Nagle's algorithm delays small answers; a stream that can't be told is served all the same.
    let _ = stream.set_nodelay(true);
    let ended = match run_stream(config, stream, guest).await {
        Ok(session) => session.await,
        Err(error) => Err(error),
    };
    if !admitted.load(Ordering::Relaxed) {
        let why = ended.map_or_else(|error| error.to_string(), |()| "no auth passed yet".into());
        eprintln!("Failed SSH handshake with client {peer:?}: {why}");
    }
    let _ = print_line(&format!("SSH client disconnected {peer:?}"));
}

/// A client of the listener.
struct Guest {
    client: Client,
    instance: String,
    peer: String,
    login: Option<Login>,
    /// Whether it has proved who it is.
    admitted: Arc<AtomicBool>,
    /// Channels that are open and serve nothing yet.
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> std::result::Result<Auth, russh::Error> {
        Ok(match self.login {
            None => Auth::Accept,
            Some(_) => refused(),
        })
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> std::result::Result<Auth, russh::Error> {
        Ok(match &self.login {
            Some(login) if !login.fits(user, password) => refused(),
            _ => Auth::Accept,
        })
    }

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        _offer: PublicKeyOffer<'_>,
    ) -> std::result::Result<Auth, russh::Error> {
        Ok(refused())
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> std::result::Result<(), russh::Error> {
        self.admitted.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> std::result::Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> std::result::Result<(), russh::Error> {
        let channel = match name {
            "sftp" => self.channels.remove(&id),
            _ => None,
        };
        let Some(channel) = channel else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let (client, instance, peer) = (self.client.clone(), self.instance.clone(), self.peer.clone());
        tokio::spawn(async move { pipe(channel, &client, &instance, &peer).await });
        Ok(())
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> std::result::Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> std::result::Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn channel_close(
        &mut self,
        id: ChannelId,
        _session: &mut Session,
    ) -> std::result::Result<(), russh::Error> {
        self.channels.remove(&id);
        Ok(())
    }
}

/// Carries the bytes of one SFTP session; the channel closes when it is dropped.
async fn pipe(channel: Channel<Msg>, client: &Client, instance: &str, peer: &str) {
    let mut sftp = match client.sftp(instance).await {
        Ok(sftp) => sftp,
        Err(error) => {
            eprintln!("Failed connecting to instance SFTP for client {peer:?}: {error}");
            let _ = channel.close().await;
            return;
        }
    };
    let mut channel = channel.into_stream();
    // Whichever side goes away ends it; there is nobody to tell.
    let _ = tokio::io::copy_bidirectional(&mut channel, &mut sftp).await;
}

/// The password is wrong; another one may be tried.
fn refused() -> Auth {
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::from(&[MethodKind::Password][..])),
        partial_success: false,
    }
}

/// Letters and digits by chance.
fn random_word(length: usize) -> Result<String> {
    const SIGNS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut word = String::with_capacity(length);
    while word.len() < length {
        let mut bytes = [0; 32];
        let flags = rustix::rand::GetRandomFlags::empty();
        let count = rustix::rand::getrandom(&mut bytes, flags)
            .map_err(|error| Error::message(format!("Failed to generate a password: {error}")))?;
        // Bytes beyond the last whole round of signs would favour the first ones.
        let signs = bytes[..count]
            .iter()
            .filter_map(|byte| SIGNS.get(usize::from(byte >> 2)));
        word.extend(signs.take(length - word.len()).map(|sign| char::from(*sign)));
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_login_fits() {
        let login = Login::new("me").unwrap();
        let password = login.password.clone();
        assert!(login.fits("me", &password));
        for (user, password) in [
            ("you", password.as_str()),
            ("me", ""),
            ("", ""),
            ("me", "12345678"),
        ] {
            assert!(!login.fits(user, password), "{user} {password}");
        }
    }

    #[test]
    fn logins_differ() {
        let (one, other) = (Login::new("").unwrap(), Login::new("").unwrap());
        assert_ne!(one.user, other.user);
        assert_ne!(one.password, other.password);
        assert!(one.user.len() >= 8 && one.password.len() >= 8);
    }
}
