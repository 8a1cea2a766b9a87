//! The numbers of the Centrifuge protocol: errors, and ends of connections.

use crate::protocol::channel::Denied;
use crate::protocol::claims::TokenRefused;
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
    /// The token was good once; a new one helps.
    TokenExpired,
    /// Too much waits already; the same command may succeed later.
    TooManyRequests,
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

    /// What a client is told whose token is refused, if a new or a later try may help.
    pub fn of_token(refused: TokenRefused) -> Option<Self> {
        match refused {
            TokenRefused::Expired => Some(Self::TokenExpired),
            TokenRefused::KeysUnavailable => Some(Self::Internal),
            TokenRefused::Overloaded => Some(Self::TooManyRequests),
            _ => None,
        }
    }

    /// Whether clients may try the same again.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests)
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
            Self::TokenExpired => (109, "token expired"),
            Self::TooManyRequests => (111, "too many requests"),
            Self::UnrecoverablePosition => (112, "unrecoverable position"),
        }
    }
}

/// Why a subscription is over. 2500 and above tell clients to subscribe again; what is below 2000
/// was the client's doing, and only backends are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsubscribed {
    /// The client wanted it.
    Client,
    /// The client is gone.
    Disconnect,
    /// A backend wanted it.
    Server,
    /// The time of its token is over, and no new one came.
    Expired,
}

impl Unsubscribed {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Client => 0,
            Self::Disconnect => 1,
            Self::Server => 2000,
            Self::Expired => 2501,
        }
    }

    /// The text on the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Client => "client unsubscribed",
            Self::Disconnect => "client disconnected",
            Self::Server => "server unsubscribe",
            Self::Expired => "subscription expired",
        }
    }
}

/// Why a connection is ended from our side: the code of the Close frame. 3000 to 3499 tell clients
/// to connect again, 3500 to 3999 to stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The gateway stops.
    Shutdown,
    /// The time of the connection's token is over and no new one came, or a backend says so.
    ConnectionExpired,
    /// The time of a subscription is over that the client did not ask for.
    SubscriptionExpired,
    /// A ping was not answered.
    NoPong,
    /// The token does not count.
    InvalidToken,
    /// The client broke the rules of the protocol.
    BadRequest,
    /// No connect command came in time.
    Stale,
    /// A backend wants it to stay away.
    ForceDisconnect,
    /// It is to be subscribed to more channels than it may have.
    ChannelLimit,
    /// Nothing here takes messages of clients.
    NotAvailable,
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
            Self::ConnectionExpired => (3005, "connection expired"),
            Self::SubscriptionExpired => (3006, "subscription expired"),
            Self::NoPong => (3012, "no pong"),
            Self::InvalidToken => (3500, "invalid token"),
            Self::BadRequest => (3501, "bad request"),
            Self::Stale => (3502, "stale"),
            Self::ForceDisconnect => (3503, "force disconnect"),
            Self::ChannelLimit => (3505, "channel limit"),
            Self::NotAvailable => (3508, "not available"),
        };
        (CloseCode::new(number).expect("3000 to 4999 may be sent"), reason)
    }
}
