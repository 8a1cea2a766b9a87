//! Subscriptions that ask the owner one by one, because they recover or are present there.

use super::{ChannelId, ChannelsFull, Hub, Member, Place};
use crate::id::ChannelName;

/// A join on its way to the owner and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinTicket {
    /// The channel.
    pub channel: ChannelId,
    /// Whether it is this join that tells the owner of this shard's interest.
    asks: bool,
}

impl Hub {
    /// Begins a subscription that asks the owner by [`Hub::join`]: call it when the mail to the
    /// owner is sent. The ticket travels with it; the channel is kept, and this shard listens,
    /// until the answer came and [`Hub::finish_join`] or [`Hub::abandon_join`] took it back.
    ///
    /// # Errors
    /// The table is full; send no mail.
    pub fn begin_join(&mut self, name: &ChannelName) -> Result<JoinTicket, ChannelsFull> {
        let id = self.find_or_make(name)?;
        let channel = self.channel_mut(id);
        channel.joining += 1;
        Ok(JoinTicket { channel: id, asks: channel.registration.note_join() })
    }

    /// The owner let the member in: publications flow from now on. Returns its place. `joined` is
    /// called for those of [`Hub::subscribe`] whom the same answer lets in.
    pub fn finish_join(
        &mut self,
        ticket: JoinTicket,
        member: Member,
        joined: impl FnMut(Member, u32),
    ) -> Place {
        let index = self.channel_mut(ticket.channel).members.add(member);
        self.take_ticket(ticket, true, joined, |_| {});
        Place::Member(index)
    }

    /// The answer came and admits nobody: the connection is gone or wants the channel no more, or
    /// (`accepted` false) the owner refused. `joined` and `refused` are called for those of
    /// [`Hub::subscribe`] to whom the same answer matters.
    pub fn abandon_join(
        &mut self,
        ticket: JoinTicket,
        accepted: bool,
        joined: impl FnMut(Member, u32),
        refused: impl FnMut(Member),
    ) {
        self.take_ticket(ticket, accepted, joined, refused);
    }

    fn take_ticket(
        &mut self,
        ticket: JoinTicket,
        accepted: bool,
        mut joined: impl FnMut(Member, u32),
        mut refused: impl FnMut(Member),
    ) {
        let JoinTicket { channel: id, asks } = ticket;
        let channel = self.channel_mut(id);
        channel.joining = channel.joining.checked_sub(1).expect("one answer per join");
        if asks {
            self.settle_answer(id, accepted, &mut joined, &mut refused);
        }
        if accepted {
            let channel = self.channel_mut(id);
            channel.registration.note_joined();
            // Whoever began to wait after an earlier join was refused has no other answer to wait
            // for.
            if channel.registration.is_live() {
                channel.admit_waiting(&mut joined);
            }
        }
        self.look_at(id);
        self.forget_if_over(id);
    }
}
