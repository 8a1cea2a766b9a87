//! What can be wrong with the settings, and what is worth a warning. Messages are for the operator:
//! where it was set, what was found, what is allowed or what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::conflict::Conflict;
use super::hooks::HookFault;
use super::notices::NoticesFault;
use super::token_fault::{TokenFault, TokenWarning};
use super::value::{bytes_text, duration_text};
use crate::limits;

/// Where a setting comes from. Of two, the later in this order wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// Nobody set it, and `--dev` has a default of its own.
    Dev,
    /// The configuration file.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The command-line flag of this name, such as `--listen` or `--set`.
    Flag(&'static str),
}

impl Source {
    /// The place in the order: of two, the higher wins.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Dev => 1,
            Self::File { .. } => 2,
            Self::Environment(_) => 3,
            Self::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Dev => f.write_str("default with --dev"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Why the settings cannot be used. The operator's fault in every case; nothing has been started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    FileUnreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system said; of kind `InvalidData` if it is not UTF-8.
        error: io::Error,
    },
    /// The configuration file is longer than [`limits::CONFIG_FILE_SIZE_MAX`].
    #[error(
        "the configuration file {} is longer than {}",
        path.display(),
        bytes_text(limits::CONFIG_FILE_SIZE_MAX)
    )]
    FileTooLong {
        /// The file, as it was named.
        path: PathBuf,
    },
    /// The configuration file is not TOML.
    #[error("{at}: not TOML: {message}")]
    NotToml {
        /// The line.
        at: Source,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("{at}: unknown key {key:?}{}", did_you_mean(nearest.unwrap_or("")))]
    UnknownKey {
        /// Where it was set.
        at: Source,
        /// What was typed.
        key: String,
        /// The key or table that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A key has a value it does not take.
    #[error("{at}: {key} is {found}; allowed: {allowed}")]
    BadValue {
        /// Where it was set.
        at: Source,
        /// The key.
        key: String,
        /// What was typed, cut and escaped.
        found: String,
        /// What the key takes.
        allowed: Allowed,
    },
    /// A namespace whose name no channel could have.
    #[error(
        "{at}: {name:?} is no name of a namespace; allowed: 1 to {} bytes without a colon, and no $ \
         in front, which stands for private channels",
        limits::NAMESPACE_NAME_MAX
    )]
    NamespaceName {
        /// Where it was set.
        at: Source,
        /// What was typed.
        name: String,
    },
    /// More namespaces than [`limits::CONFIG_LIST_LEN_MAX`].
    #[error("{at}: more than {} namespaces", limits::CONFIG_LIST_LEN_MAX)]
    NamespacesTooMany {
        /// Where the first one too many is.
        at: Source,
    },
    /// Two settings do not go together.
    #[error("{conflict} ({}: {}; {}: {})", set[0].0, set[0].1, set[1].0, set[1].1)]
    Conflict {
        /// Which.
        conflict: Conflict,
        /// The two keys and where each was set.
        set: Box<[(String, Source); 2]>,
    },
    /// The API key cannot be used.
    #[error("{at}: {fault}")]
    ApiKey {
        /// Where the key or the name of its file was set.
        at: Source,
        /// What is wrong.
        fault: ApiKeyFault,
    },
    /// Tokens could not be checked as they are to be.
    #[error("{at}: {fault}")]
    Token {
        /// Where the setting was made.
        at: Source,
        /// What is wrong.
        fault: Box<TokenFault>,
    },
    /// Backends could not be asked as they are to be.
    #[error("{at}: {fault}")]
    Hook {
        /// Where the setting was made.
        at: Source,
        /// What is wrong.
        fault: Box<HookFault>,
    },
    /// Notices could not be sent as they are to be.
    #[error("{at}: {fault}")]
    Notices {
        /// Where the setting was made.
        at: Source,
        /// What is wrong.
        fault: NoticesFault,
    },
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A table of keys.
    Table,
    /// A text.
    Text,
    /// True or false.
    Switch,
    /// A whole number in this range.
    Count(u64, u64),
    /// A power of two in this range.
    PowerOfTwo(u64, u64),
    /// A size in this range.
    Bytes(u64, u64),
    /// A duration in this range.
    Duration(Duration, Duration),
    /// An address with a port.
    Address,
    /// A number of shards.
    Shards,
    /// A list of cores.
    Cores,
    /// A list with at most this many entries.
    List(usize),
    /// Origins.
    Origins,
    /// Networks.
    Networks,
    /// One of these texts.
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("a table, written as [name] with its keys below"),
            Self::Text => f.write_str("a text"),
            Self::Switch => f.write_str("true or false"),
            Self::Count(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::PowerOfTwo(least, most) => write!(f, "a power of two from {least} to {most}"),
            Self::Bytes(least, most) => write!(
                f,
                "a size from {} to {}, in bytes or with the unit B, KiB, MiB or GiB",
                bytes_text(*least),
                bytes_text(*most)
            ),
            Self::Duration(least, most) => write!(
                f,
                "a duration from {} to {}, in seconds or with the unit ms, s, m or h",
                duration_text(*least),
                duration_text(*most)
            ),
            Self::Address => {
                f.write_str("an address and a port, such as 127.0.0.1:8000 or [::1]:8000")
            }
            Self::Shards => {
                write!(f, "\"auto\", or a whole number from 0 (auto) to {}", limits::SHARDS_MAX)
            }
            Self::Cores => f.write_str("numbers of cores and ranges of them, such as 0,1 or 0-3"),
            Self::List(most) => write!(f, "a list of at most {most} entries"),
            Self::Origins => f.write_str(
                "origins as a browser sends them, scheme://host or scheme://host:port without \
                 anything after it, or \"*\" alone for all",
            ),
            Self::Networks => f.write_str("addresses or networks, such as 10.0.0.0/8"),
            Self::OneOf(texts) => write!(f, "{}", texts.join(", ")),
        }
    }
}

/// What is wrong with the API key. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyFault {
    /// Empty: probably a variable that was meant to be filled in.
    #[error("the API key is empty; remove it to run without a key")]
    Empty,
    /// Longer than [`limits::API_KEY_SIZE_MAX`].
    #[error("the API key is longer than {} bytes", limits::API_KEY_SIZE_MAX)]
    TooLong,
    /// It could not be sent in an HTTP header.
    #[error("the API key may hold only letters, digits and signs of ASCII, no spaces")]
    NotVisibleAscii,
    /// Its file cannot be read.
    #[error("cannot read the API key file {}: {error}", path.display())]
    FileUnreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Something that works but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A variable that looks like ours and sets nothing. No error, because Kubernetes puts
    /// variables named for its services, such as `TIDEGATE_PORT`, into every container.
    UnknownVariable {
        /// The variable.
        name: String,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// Others can read the file with the API key.
    KeyFileReadable {
        /// The file.
        path: PathBuf,
    },
    /// The API key is on the command line.
    KeyOnCommandLine,
    /// `--dev` on an address others can reach.
    DevReachable {
        /// Where clients connect.
        listen: SocketAddr,
    },
    /// A key of compression is set, and compression is off.
    CompressionOff {
        /// The key.
        key: &'static str,
        /// Where it was set.
        at: Source,
    },
    /// No message is long enough to be compressed.
    NothingCompressed {
        /// Least size of a message that is compressed.
        size_min: usize,
        /// Size of the longest message there can be.
        largest: usize,
    },
    /// Publications may be longer than a request of the HTTP API.
    PublicationAboveApiBody {
        /// The limit of a publication.
        publication: usize,
    },
    /// In `[token]`, or about another secret.
    Token(TokenWarning),
    /// Notices go to another machine over a connection that anybody in between may read.
    NoticesUnencrypted,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(warning) => warning.fmt(f),
            Self::NoticesUnencrypted => f.write_str(
                "hooks.notices.url is not https: whoever is on the way to it can read who \
                 disconnects and from which channels",
            ),
            Self::UnknownVariable { name, nearest } => write!(
                f,
                "environment variable {name:?} sets nothing{}",
                did_you_mean(nearest.as_deref().unwrap_or(""))
            ),
            Self::KeyFileReadable { path } => {
                write!(f, "others can read the API key in {path:?}: chmod 600 it")
            }
            Self::KeyOnCommandLine => f.write_str(
                "--api-key shows the key to every user of this machine (ps): use TIDEGATE_API_KEY \
                 or server.api_key_file",
            ),
            Self::DevReachable { listen } => write!(
                f,
                "--dev on {listen}: whoever reaches this address may subscribe and publish to \
                 every channel that is not restricted, and use /echo"
            ),
            Self::CompressionOff { key, at } => {
                write!(f, "{at}: {key} has no effect while server.compression is false")
            }
            Self::NothingCompressed { size_min, largest } => write!(
                f,
                "server.compression is on but compresses nothing: \
                 server.compression_min_size is {size_min} bytes and no message has more than \
                 {largest}"
            ),
            Self::PublicationAboveApiBody { publication } => write!(
                f,
                "limits.publication_size is {publication}, but a request of the HTTP API holds at \
                 most {} bytes: longer publications can only come from clients",
                limits::API_BODY_MAX
            ),
        }
    }
}

fn did_you_mean(nearest: &str) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {nearest}?") }
}
