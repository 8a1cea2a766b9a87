//! The numbers of the Centrifuge protocol: errors, and ends of connections.

use crate::protocol::channel::Denied;
use crate::ws::CloseCode;

/// Why a command failed; the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The gateway's own fault or lack of room; the same command may succeed later.
    Internal,
    /// The channel's namespace is not configured.
    UnknownChannel,
    /// The channel's options do not allow it.
    PermissionDenied,
    /// Nobody answers to this method.
    MethodNotFound,
    /// The connection has this subscription, or is about to.
    AlreadySubscribed,
    /// The connection holds as many subscriptions as it may.
    LimitExceeded,
    /// The command makes no sense, or exceeds a limit.
    BadRequest,
    /// The channel does not have the feature, or the protocol cannot carry it.
    NotAvailable,
    /// The stream no longer has what follows the position given.
    UnrecoverablePosition,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self.parts().0
    }

    /// The text on the wire.
    pub fn message(self) -> &'static str {
        self.parts().1
    }

    /// What a client is told that may not do something.
    pub fn of_denial(denied: Denied) -> Self {
        match denied {
            Denied::UnknownNamespace => Self::UnknownChannel,
            Denied::NotAvailable => Self::NotAvailable,
            Denied::NameRestricted | Denied::NotPermitted => Self::PermissionDenied,
        }
    }

    /// Whether clients may try the same again.
    pub fn is_temporary(self) -> bool {
        self == Self::Internal
    }

    fn parts(self) -> (u16, &'static str) {
        match self {
            Self::Internal => (100, "internal server error"),
            Self::UnknownChannel => (102, "unknown channel"),
            Self::PermissionDenied => (103, "permission denied"),
            Self::MethodNotFound => (104, "method not found"),
            Self::AlreadySubscribed => (105, "already subscribed"),
            Self::LimitExceeded => (106, "limit exceeded"),
            Self::BadRequest => (107, "bad request"),
            Self::NotAvailable => (108, "not available"),
            Self::UnrecoverablePosition => (112, "unrecoverable position"),
        }
    }
}

/// Why a subscription is ended from our side. 2500 and above tell clients to subscribe again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsubscribed {
    /// A backend wanted it.
    Server,
}

impl Unsubscribed {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Server => 2000,
        }
    }

    /// The text on the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Server => "server unsubscribe",
        }
    }
}

/// Why a connection is ended from our side: the code of the Close frame. 3000 to 3499 tell clients
/// to connect again, 3500 to 3999 to stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The gateway stops.
    Shutdown,
    /// A ping was not answered.
    NoPong,
    /// The client broke the rules of the protocol.
    BadRequest,
    /// No connect command came in time.
    Stale,
    /// Nothing here takes messages of clients.
    NotAvailable,
    /// A backend wants it to stay away.
    ForceDisconnect,
    /// A backend subscribed it to more channels than it may have.
    ChannelLimit,
    /// A backend says that its time is over.
    ConnectionExpired,
}

impl Disconnect {
    /// The code of the Close frame.
    pub fn code(self) -> CloseCode {
        self.parts().0
    }

    /// The reason in the Close frame.
    pub fn reason(self) -> &'static str {
        self.parts().1
    }

    fn parts(self) -> (CloseCode, &'static str) {
        let (number, reason) = match self {
            Self::Shutdown => (3001, "shutdown"),
            Self::NoPong => (3012, "no pong"),
            Self::BadRequest => (3501, "bad request"),
            Self::Stale => (3502, "stale"),
            Self::NotAvailable => (3508, "not available"),
            Self::ForceDisconnect => (3503, "force disconnect"),
            Self::ChannelLimit => (3505, "channel limit"),
            Self::ConnectionExpired => (3005, "connection expired"),
        };
        (CloseCode::new(number).expect("3000 to 4999 may be sent"), reason)
    }
}
