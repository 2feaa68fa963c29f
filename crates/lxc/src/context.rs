//! What a command works with: its arguments and flags, the configuration, connections to remotes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;

use lxd_client::{Background, BackgroundEnd, Client, Proxies, SimpleStreams, Tls, Trust, Web};

use crate::arguments::Parsed;
use crate::config::{Config, Remote};
use crate::error::{Error, Result};
use crate::image_server::ImageServer;
use crate::progress::Progress;
use crate::render::print_line;

/// What the client calls itself to web servers.
const AGENT: &str = "LXD 5.0.2";

/// Everything that a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The client's configuration.
    pub(crate) config: Config,
    parsed: Parsed,
    clients: RefCell<BTreeMap<String, Client>>,
}

/// A word of the command line that names something on a remote: `[<remote>:]<name>`.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// The remote's name.
    pub(crate) remote: String,
    /// The connection to it, in the right project.
    pub(crate) client: Client,
    /// What follows the colon; may be empty.
    pub(crate) name: String,
}

impl Context {
    /// Everything for one command line.
    pub(crate) fn new(config: Config, parsed: Parsed) -> Self {
        let mut context = Self {
            config,
            parsed,
            clients: RefCell::default(),
        };
        // `remote add` has a --project of its own.
        if context
            .parsed
            .command
            .flags
            .iter()
            .all(|flag| flag.name != "project")
        {
            context.config.project = context.text("project").to_string();
        }
        context
    }

    /// The arguments, without flags and the command's own words.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.parsed.arguments
    }

    /// An argument, from 0; "" where there are fewer.
    pub(crate) fn argument(&self, at: usize) -> &str {
        self.parsed.arguments.get(at).map_or("", String::as_str)
    }

    /// Whether a flag stands on the command line.
    pub(crate) fn given(&self, flag: &str) -> bool {
        self.parsed.flags.contains_key(flag)
    }

    /// The value of a flag, or its default.
    pub(crate) fn text(&self, flag: &str) -> &str {
        let default = || {
            self.parsed
                .command
                .all_flags()
                .find(|each| each.name == flag)
                .map_or("", |flag| flag.default)
        };
        self.parsed
            .flags
            .get(flag)
            .and_then(|values| values.last())
            .map_or_else(default, String::as_str)
    }

    /// Whether a switch is on.
    pub(crate) fn switch(&self, flag: &str) -> bool {
        self.text(flag) == "true"
    }

    /// All values of a flag that may be repeated.
    pub(crate) fn list(&self, flag: &str) -> &[String] {
        self.parsed.flags.get(flag).map_or(&[], Vec::as_slice)
    }

    /// The value of a flag that takes a number; 0 where it has none.
    pub(crate) fn number(&self, flag: &str) -> i64 {
        self.text(flag).parse().unwrap_or_default()
    }

    /// Whether progress is to be shown.
    pub(crate) fn is_quiet(&self) -> bool {
        self.switch("quiet")
    }

    /// Prints what was done, unless the user wants no talk.
    pub(crate) fn tell(&self, text: &str) -> Result<()> {
        if self.is_quiet() { Ok(()) } else { print_line(text) }
    }

    /// What an argument names, and the connection to its remote.
    ///
    /// # Errors
    /// When there is no such remote, or it can't be talked to.
    pub(crate) fn resource(&self, word: &str) -> Result<Resource> {
        let (remote, name) = self.config.split(word)?;
        Ok(Resource {
            remote: remote.into(),
            client: self.client(remote)?,
            name: name.into(),
        })
    }

    /// What an argument that may be missing names: the default remote then, and no name.
    pub(crate) fn resource_or_default(&self, at: usize) -> Result<Resource> {
        self.resource(self.argument(at))
    }

    /// The same for an argument that must name something after the remote.
    ///
    /// # Errors
    /// `Missing WHAT name` where there is none.
    pub(crate) fn named(&self, word: &str, what: &str) -> Result<Resource> {
        let resource = self.resource(word)?;
        if resource.name.is_empty() {
            return Err(Error::message(format!("Missing {what} name")));
        }
        Ok(resource)
    }

    /// The connection to a remote, in the project that the command line or the configuration says.
    ///
    /// No request is sent before the command's own first one.
    pub(crate) fn client(&self, remote: &str) -> Result<Client> {
        if let Some(client) = self.clients.borrow().get(remote) {
            return Ok(client.clone());
        }
        let client = self.connect(remote)?;
        self.clients.borrow_mut().insert(remote.into(), client.clone());
        Ok(client)
    }

    fn connect(&self, name: &str) -> Result<Client> {
        let remote = self.remote(name)?;
        if (remote.public || remote.is_simplestreams()) && !self.switch("force-local") {
            return Err(Error::message("The remote isn't a private LXD server"));
        }
        self.lxd(name, remote)
    }

    fn remote(&self, name: &str) -> Result<&Remote> {
        let remote = self.config.remotes().get(name);
        remote.ok_or_else(|| Error::message(format!("The remote \"{name}\" doesn't exist")))
    }

    /// The connection to an LXD.
    fn lxd(&self, name: &str, remote: &Remote) -> Result<Client> {
        let project = if self.config.project.is_empty() {
            &remote.project
        } else {
            &self.config.project
        };
        if remote.is_local() || self.switch("force-local") {
            let path = remote.addr.trim_start_matches("unix:").trim_start_matches("//");
            let socket = if path.is_empty() || !remote.is_local() {
                local_socket()
            } else {
                PathBuf::from(path)
            };
            return Ok(Client::unix(socket).in_project(project));
        }
        let (trust, identity) = (self.trust(name)?, self.config.identity()?);
        Ok(Client::https(&remote.addr, &Tls { trust, identity })?.in_project(project))
    }

    fn trust(&self, name: &str) -> Result<Trust> {
        Ok(match self.config.server_certificate(name)? {
            Some(certificate) => Trust::Pinned(certificate),
            None => Trust::Authorities,
        })
    }

    /// The server that a word names for images, which need not be an LXD that knows us, and what follows the colon.
    ///
    /// # Errors
    /// When there is no such remote, or it can't be talked to.
    pub(crate) fn image_server<'a>(&'a self, word: &'a str) -> Result<(ImageServer, &'a str)> {
        let (name, rest) = self.config.split(word)?;
        let remote = self.remote(name)?;
        if remote.is_simplestreams() && !self.switch("force-local") {
            let (trust, identity) = (self.trust(name)?, None);
            let web = Web::new(&Tls { trust, identity }, &Proxies::default(), AGENT)?;
            let server = SimpleStreams::new(Arc::new(web), &remote.addr, None);
            return Ok((ImageServer::lists(server), rest));
        }
        if remote.public {
            return Ok((ImageServer::Lxd(self.lxd(name, remote)?), rest));
        }
        Ok((ImageServer::Lxd(self.client(name)?), rest))
    }

    /// Waits for an operation, with progress after `title` where it is wanted; Ctrl-C cancels the operation.
    ///
    /// `title` is what the reference puts before the progress, as in `Retrieving image: `.
    ///
    /// # Errors
    /// What the operation failed with.
    pub(crate) async fn wait(&self, background: &Background, title: &str) -> Result<BackgroundEnd> {
        let mut progress = Progress::new(self.is_quiet(), title);
        let wanted = progress.is_shown();
        let ended = interruptible(background, async {
            if wanted {
                background
                    .wait_with(|operation| progress.operation(operation))
                    .await
            } else {
                background.wait().await
            }
        })
        .await;
        progress.done("");
        ended
    }
}

/// Lets Ctrl-C cancel an operation while something waits for it.
async fn interruptible<T>(
    background: &Background,
    wait: impl Future<Output = lxd_client::Result<T>>,
) -> Result<T> {
    let mut wait = std::pin::pin!(wait);
    let mut left = 3;
    loop {
        tokio::select! {
            ended = &mut wait => return Ok(ended?),
            _ = tokio::signal::ctrl_c() => {}
        }
        let Err(error) = background.cancel().await else {
            return Err(Error::message("Remote operation canceled by user"));
        };
        left -= 1;
        if left == 0 {
            return Err(Error::message(
                "User signaled us three times, exiting. The remote operation will keep running",
            ));
        }
        eprintln!("{error} (interrupt {left} more times to force)");
    }
}

/// The socket of the server on this host: in `$LXD_DIR`, where `$LXD_SOCKET` does not name another.
pub(crate) fn local_socket() -> PathBuf {
    if let Some(socket) = std::env::var_os("LXD_SOCKET").filter(|socket| !socket.is_empty()) {
        return socket.into();
    }
    let folder = std::env::var_os("LXD_DIR").filter(|folder| !folder.is_empty());
    folder
        .map_or_else(|| PathBuf::from("/var/lib/lxd"), PathBuf::from)
        .join("unix.socket")
}

/// Whether somebody types at standard input.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// All that is piped into standard input.
pub(crate) fn read_stdin() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|source| Error::Terminal {
        doing: "Failed to read standard input",
        source,
    })?;
    Ok(text)
}

/// Asks a question on standard output and reads a line; an empty one where there is nobody.
pub(crate) fn ask(question: &str) -> Result<String> {
    Ok(ask_line(question)?.unwrap_or_default())
}

/// Asks a question on standard output and reads a line, if there is one.
pub(crate) fn ask_line(question: &str) -> Result<Option<String>> {
    crate::render::print(question)?;
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    let length = read.map_err(|source| Error::Terminal {
        doing: "Failed to read standard input",
        source,
    })?;
    Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_string()))
}
