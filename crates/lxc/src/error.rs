//! Why a command failed.

/// The outcome of a command.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command failed; the text is what users see after `Error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] lxd_client::Error),
    /// The words of the command line.
    #[error(transparent)]
    Arguments(#[from] crate::arguments::Error),
    /// Text that is not the YAML it should be.
    #[error(transparent)]
    Yaml(#[from] lxd_model::yaml::Error),
    /// A file of the user's.
    #[error("{}: {}", .path.display(), reason(.source))]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Standard input, standard output or the terminal.
    #[error("{doing}: {source}")]
    Terminal {
        /// What was being done, as in `Failed to read standard input`.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Too few or too many arguments; help is printed as well.
    #[error("Invalid number of arguments")]
    Count,
    /// The same, with the command's help before it.
    #[error("Invalid number of arguments")]
    HelpAndCount,
    /// No arguments at all: help is printed, and nothing is wrong.
    #[error("help")]
    Help,
    /// Nothing to do: the usage is printed, and nothing is wrong.
    #[error("usage")]
    Usage,
    /// The exit code of a command that ran in an instance; nothing is printed.
    #[error("exit status {0}")]
    Exit(u8),
    /// What the command itself found wrong.
    #[error("{0}")]
    Message(String),
}

impl Error {
    /// What a command found wrong, in its own words.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }
}

fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}
