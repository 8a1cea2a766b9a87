//! How a connection subscribes once it is upgraded, as asked for on the command line.

use clap::{Args, ValueEnum};

use crate::centrifuge::Hello;

/// What every command that opens connections takes of it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SessionArgs {
    /// How a connection subscribes.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) protocol: Protocol,
    /// The channel to subscribe to with --protocol centrifuge [default: bench].
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// The token every connection connects with, with --protocol centrifuge.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// How a connection subscribes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// By the parameter `channel` of its URL.
    #[default]
    Raw,
    /// By the commands of the Centrifuge client protocol, version 2, in JSON.
    Centrifuge,
    /// Not at all, or by --subscribe: the server sends to everyone connected.
    None,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("--channel and --token go with --protocol centrifuge; else write them into the URL")]
    NotCentrifuge,
    #[error(
        "a channel's name is 1 to {CHANNEL_MAX} visible ASCII characters but for \" \\ < > and &"
    )]
    ChannelName,
    #[error(
        "--compression goes with --protocol raw or none: leave it out for the Centrifuge protocol"
    )]
    Compression,
    #[error(
        "the Centrifuge protocol has no echo: use fanout, idle, connect, or plan with --publish"
    )]
    Echo,
}

impl SessionArgs {
    /// Whether what was asked for fits together.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check(&self) -> Result<(), SessionError> {
        if self.protocol != Protocol::Centrifuge {
            let has_more = self.channel.is_some() || self.token.is_some();
            return if has_more { Err(SessionError::NotCentrifuge) } else { Ok(()) };
        }
        let name = self.channel().as_bytes();
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\<>&".contains(byte);
        let fits = (1..=CHANNEL_MAX).contains(&name.len()) && name.iter().all(plain);
        if fits { Ok(()) } else { Err(SessionError::ChannelName) }
    }

    /// The same for a command whose messages come back to who sent them.
    ///
    /// # Errors
    /// It does not fit together, or the protocol has no echo.
    pub(crate) fn check_echo(&self) -> Result<(), SessionError> {
        self.check()?;
        if self.is_centrifuge() { Err(SessionError::Echo) } else { Ok(()) }
    }

    /// Whether connections speak the Centrifuge protocol.
    pub(crate) fn is_centrifuge(&self) -> bool {
        self.protocol == Protocol::Centrifuge
    }

    /// The channel that commands name.
    pub(crate) fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or("bench")
    }

    /// What a connection says first to subscribe to `channel`, or to none.
    pub(crate) fn hello(&self, channel: Option<&str>) -> Option<Hello> {
        self.is_centrifuge().then(|| Hello::new(self.token.as_deref(), channel))
    }
}

impl Protocol {
    /// Its name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Centrifuge => "centrifuge",
            Self::None => "none",
        }
    }
}

/// Longest name of a channel that servers take.
const CHANNEL_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_told() {
        let args = |protocol, channel: Option<&str>, token: Option<&str>| SessionArgs {
            protocol,
            channel: channel.map(str::to_owned),
            token: token.map(str::to_owned),
        };
        for (args, expected) in [
            (args(Protocol::Raw, None, None), Ok(())),
            (args(Protocol::Raw, Some("a"), None), Err(SessionError::NotCentrifuge)),
            (args(Protocol::None, None, Some("t")), Err(SessionError::NotCentrifuge)),
            (args(Protocol::Centrifuge, None, None), Ok(())),
            (args(Protocol::Centrifuge, Some("chat:a#1"), Some("t")), Ok(())),
            (args(Protocol::Centrifuge, Some(""), None), Err(SessionError::ChannelName)),
            (args(Protocol::Centrifuge, Some("a\"b"), None), Err(SessionError::ChannelName)),
            (
                args(Protocol::Centrifuge, Some(&"a".repeat(256)), None),
                Err(SessionError::ChannelName),
            ),
        ] {
            assert_eq!(args.check(), expected, "{args:?}");
        }
        assert_eq!(args(Protocol::Centrifuge, None, None).check_echo(), Err(SessionError::Echo));
    }
}
