//! Agreeing on permessage-deflate (RFC 7692 sections 5 and 7.1), both roles.
//!
//! A server takes the first offer its [`DeflatePolicy`] can accept and answers it; whatever it
//! declines leaves the connection uncompressed. A client sends what [`DeflateOffer`] shows and
//! checks the answer against it.

use std::fmt;

use super::{Extension, ResponseError};
use crate::ws::deflate::{DeflateParams, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// What a server agrees to. Windows are powers of two, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflatePolicy {
    /// Largest window the server compresses with, 9 to 15.
    pub server_window_bits_max: u8,
    /// An offer that limits the server to less is declined, 9 to 15.
    pub server_window_bits_min: u8,
    /// Largest window a client is to compress with, 9 to 15; told to those who offer to be told.
    pub client_window_bits_max: u8,
    /// The server compresses each message by itself even if the client could follow.
    pub server_no_context_takeover: bool,
    /// Clients have to compress each message by itself.
    pub client_no_context_takeover: bool,
}

impl DeflatePolicy {
    /// Whatever the client offers.
    pub const ANY: Self = Self {
        server_window_bits_max: WINDOW_BITS_MAX,
        server_window_bits_min: WINDOW_BITS_MIN,
        client_window_bits_max: WINDOW_BITS_MAX,
        server_no_context_takeover: false,
        client_no_context_takeover: false,
    };

    /// One compressed copy for many clients, and no state of a connection: every message by itself,
    /// and no window of the server but the largest.
    pub const SHARED: Self = Self {
        server_window_bits_min: WINDOW_BITS_MAX,
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..Self::ANY
    };

    /// The answer to the first offer that can be accepted. An offer with an unknown or repeated
    /// parameter, or a value that none may have, is declined (section 7.1).
    pub(super) fn choose(&self, offers: &[Extension<'_>]) -> Option<DeflateAnswer> {
        let bits = WINDOW_BITS_MIN..=WINDOW_BITS_MAX;
        assert!(bits.contains(&self.server_window_bits_min));
        assert!(bits.contains(&self.server_window_bits_max));
        assert!(bits.contains(&self.client_window_bits_max));
        offers
            .iter()
            .filter(|offer| offer.name == NAME)
            .filter_map(Parameters::parse)
            .find_map(|offer| self.accept(&offer))
    }

    fn accept(&self, offer: &Parameters) -> Option<DeflateAnswer> {
        let asked = match offer.server_max_window_bits {
            // A limit without a value is no offer (section 7.1.2.1).
            Some(None) => return None,
            Some(Some(bits)) => Some(bits),
            None => None,
        };
        if asked.is_some_and(|bits| bits < self.server_window_bits_min) {
            return None;
        }
        let server_window_bits = asked.unwrap_or(WINDOW_BITS_MAX).min(self.server_window_bits_max);
        // A client that does not offer it cannot be told (section 7.1.2.2), and none is told to use
        // 8: few compressors can.
        let client_window_bits = offer
            .client_max_window_bits
            .map(|own| own.unwrap_or(WINDOW_BITS_MAX).min(self.client_window_bits_max))
            .filter(|bits| *bits >= WINDOW_BITS_MIN)
            .unwrap_or(WINDOW_BITS_MAX);
        let params = DeflateParams {
            server_window_bits,
            client_window_bits,
            server_no_context_takeover: self.server_no_context_takeover
                || offer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || offer.client_no_context_takeover,
        };
        Some(DeflateAnswer { params, asked_server_window: asked.is_some() })
    }
}

/// An offer that a server accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeflateAnswer {
    pub(super) params: DeflateParams,
    /// The offer limited the server's window, so the answer has to (section 7.1.2.1).
    asked_server_window: bool,
}

impl fmt::Display for DeflateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = |bits: u8, asked: bool| (asked || bits < WINDOW_BITS_MAX).then_some(Some(bits));
        let answer = Parameters {
            server_no_context_takeover: self.params.server_no_context_takeover,
            client_no_context_takeover: self.params.client_no_context_takeover,
            server_max_window_bits: bits(self.params.server_window_bits, self.asked_server_window),
            client_max_window_bits: bits(self.params.client_window_bits, false),
        };
        answer.fmt(f)
    }
}

/// What a client offers; shown, it is the value of `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOffer {
    /// Largest window the server may compress with, 8 to 15; 15 is not named.
    pub server_window_bits: u8,
    /// Largest window the client compresses with, 9 to 15; a server may then ask for less. `None`:
    /// it may not, and the client uses 15.
    pub client_window_bits: Option<u8>,
    /// The server is to compress each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
}

impl DeflateOffer {
    /// What browsers offer: the largest windows, context takeover, and any smaller window of the
    /// client that the server asks for.
    pub const ANY: Self = Self {
        server_window_bits: WINDOW_BITS_MAX,
        client_window_bits: Some(WINDOW_BITS_MAX),
        server_no_context_takeover: false,
        client_no_context_takeover: false,
    };

    /// What the server's answer to this offer means; `None`: it declined.
    ///
    /// # Errors
    /// `DeflateMalformed`, `DeflateNotOffered` or `DeflateWindowTooSmall`: the connection is of no
    /// use.
    ///
    /// # Panics
    /// If a window of the offer is out of its range.
    pub fn check(&self, agreed: &[Extension<'_>]) -> Result<Option<DeflateParams>, ResponseError> {
        let offer = self.parameters();
        let mut answers = agreed.iter().filter(|answer| answer.name == NAME);
        let answer = match (answers.next(), answers.next()) {
            (None, _) => return Ok(None),
            (Some(answer), None) => Parameters::parse(answer),
            (Some(_), Some(_)) => None,
        };
        let answer = answer.ok_or(ResponseError::DeflateMalformed)?;
        let server = answer.server_max_window_bits;
        let client = answer.client_max_window_bits;
        if server == Some(None) || client == Some(None) {
            return Err(ResponseError::DeflateMalformed);
        }
        let server_window_bits = server.flatten().unwrap_or(WINDOW_BITS_MAX);
        let client_window_bits = client.flatten().unwrap_or(WINDOW_BITS_MAX);
        let own_bits = self.client_window_bits.unwrap_or(WINDOW_BITS_MAX);
        if server_window_bits > self.server_window_bits
            || (client.is_some() && (offer.client_max_window_bits.is_none()))
            || (client.is_some() && client_window_bits > own_bits)
            || (self.server_no_context_takeover && !answer.server_no_context_takeover)
        {
            return Err(ResponseError::DeflateNotOffered);
        }
        if client_window_bits < WINDOW_BITS_MIN {
            return Err(ResponseError::DeflateWindowTooSmall);
        }
        Ok(Some(DeflateParams {
            server_window_bits,
            client_window_bits: client_window_bits.min(own_bits),
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || answer.client_no_context_takeover,
        }))
    }

    fn parameters(&self) -> Parameters {
        assert!((8..=WINDOW_BITS_MAX).contains(&self.server_window_bits));
        let own_bits = self.client_window_bits;
        assert!(own_bits.is_none_or(|bits| (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits)));
        let below_max = |bits: &u8| *bits < WINDOW_BITS_MAX;
        Parameters {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: Some(self.server_window_bits).filter(below_max).map(Some),
            client_max_window_bits: own_bits.map(|bits| Some(bits).filter(below_max)),
        }
    }
}

impl fmt::Display for DeflateOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parameters().fmt(f)
    }
}

/// The parameters of one offer or answer as they stand there.
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    /// There or not, and if so with or without a value.
    server_max_window_bits: Option<Option<u8>>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None`: a parameter is unknown or repeated, or has a value it may not have.
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut parameters = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            match *name {
                SERVER_NO_CONTEXT => set_flag(&mut parameters.server_no_context_takeover, value)?,
                CLIENT_NO_CONTEXT => set_flag(&mut parameters.client_no_context_takeover, value)?,
                SERVER_BITS => set_bits(&mut parameters.server_max_window_bits, value)?,
                CLIENT_BITS => set_bits(&mut parameters.client_max_window_bits, value)?,
                _ => return None,
            }
        }
        Some(parameters)
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        let flags = [
            (SERVER_NO_CONTEXT, self.server_no_context_takeover),
            (CLIENT_NO_CONTEXT, self.client_no_context_takeover),
        ];
        for (name, _) in flags.iter().filter(|(_, set)| *set) {
            write!(f, "; {name}")?;
        }
        let bits = [
            (SERVER_BITS, self.server_max_window_bits),
            (CLIENT_BITS, self.client_max_window_bits),
        ];
        for (name, bits) in bits {
            match bits {
                Some(Some(bits)) => write!(f, "; {name}={bits}")?,
                Some(None) => write!(f, "; {name}")?,
                None => {}
            }
        }
        Ok(())
    }
}

/// A flag stands there once and without a value.
fn set_flag(flag: &mut bool, value: Option<&str>) -> Option<()> {
    let was_set = std::mem::replace(flag, true);
    (!was_set && value.is_none()).then_some(())
}

/// A window stands there once, without a value or with one of 8 to 15 in plain digits.
fn set_bits(bits: &mut Option<Option<u8>>, value: Option<&str>) -> Option<()> {
    let value = match value {
        None => None,
        Some(text) => {
            let position = WINDOW_BITS_TEXT.iter().position(|known| *known == text)?;
            Some(8 + position as u8)
        }
    };
    bits.replace(value).is_none().then_some(())
}

/// The extension's name (RFC 7692 section 7).
const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// What a window may be written as: 8 to 15, without zeros in front (section 7.1.2).
const WINDOW_BITS_TEXT: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];

#[cfg(test)]
mod tests;
