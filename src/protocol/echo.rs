//! `/echo`: every message comes back, for load tests and first steps.

use super::Reaction;
use crate::ws::Message;

pub(super) fn react(message: Message<'_>) -> Reaction<'_> {
    Reaction::Reply(message)
}
