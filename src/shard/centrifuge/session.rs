//! What tells a backend that a client speaks of itself: a secret that only the client is told.
//!
//! It is made from the client's id whenever it is needed, so nothing of it is kept.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::id::{ClientKey, SessionKey};

/// Makes the sessions of one shard's clients, with keys that never leave it. They come from the
/// system, and the hash is one that does not show them (SipHash).
#[derive(Default)]
pub(in crate::shard) struct Sessions {
    halves: [RandomState; 2],
}

impl Sessions {
    /// The client's session.
    pub(super) fn of(&self, client: ClientKey) -> SessionKey {
        let [high, low] = self.halves.each_ref().map(|half| half.hash_one(client));
        SessionKey { client, secret: u128::from(high) << 64 | u128::from(low) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_of_one_client_of_one_shard() {
        let (here, there) = (Sessions::default(), Sessions::default());
        let [ann, bob] = [1, 2].map(ClientKey::from_random);
        let session = here.of(ann);
        assert_eq!(session, here.of(ann));
        assert_eq!(SessionKey::parse(&session.to_string()), Some(session));
        assert_ne!(session.secret, here.of(bob).secret);
        assert_ne!(session.secret, there.of(ann).secret);
        assert_ne!(session.secret >> 64, session.secret & u128::from(u64::MAX));
        assert_eq!(format!("{session:?}"), format!("{ann}-[secret]"));
        let text = session.to_string();
        for bad in [&text[1..], &text[..68], &text.to_uppercase(), &text.replace('-', ""), ""] {
            assert_eq!(SessionKey::parse(bad), None, "{bad}");
        }
    }
}
