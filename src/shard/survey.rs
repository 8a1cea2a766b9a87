//! Pieces of surveys: what this shard holds, told to control.

use super::Core;
use crate::limits;
use crate::mail::{Found, Subject, Survey, Surveyed};

impl Core {
    /// Looks at the next `limits::SURVEY_PIECE` channels or connections.
    pub(super) fn answer_survey(&mut self, survey: Survey) {
        let Survey { subject, cursor, reply } = survey;
        let surveyed = match subject {
            Subject::Channels => {
                let mut channels = Vec::new();
                let next = self.hub.list(cursor, limits::SURVEY_PIECE, |name, member_count| {
                    channels.push((name.clone(), member_count));
                });
                Surveyed { found: Found::Channels(channels), next }
            }
            Subject::Users => {
                let mut users = Vec::new();
                let next = self.slots.visit(cursor, limits::SURVEY_PIECE, |connection| {
                    // All who have not said who they are count as one user.
                    let info = connection.client.as_ref().and_then(|client| client.info());
                    let user = info.map_or("", |info| &*info.user);
                    users.push(self.owners.fingerprint(user));
                });
                Surveyed { found: Found::Users(users), next }
            }
        };
        // Nobody waits any more when the HTTP client is gone.
        let _ = reply.send(surveyed);
    }
}
