//! permessage-deflate on a shard: states of zlib, and what is compressed and inflated with them.
//!
//! Connections for which publications alone are compressed have no state of their own: their
//! messages are inflated, and publications compressed, with states the whole shard shares. What a
//! client of the Centrifuge protocol alone is told is not compressed: most of it is short, and what
//! is not, such as what a client missed, is asked for by all at once after a restart. Connections
//! of `/echo` get what was agreed on, their own states with context takeover, made for the first
//! message that needs one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Core, ShardSettings, lend_spare};
use crate::id::ConnId;
use crate::limits;
use crate::protocol::Protocol;
use crate::publication::{Form, Publication};
use crate::stats::ShardStats;
use crate::ws::{
    DeflateParams, DeflatePool, Deflater, Inflater, Message, ProtocolError, Role, encode,
    inflate_message,
};

/// How messages are compressed.
#[derive(Clone, Copy, Debug)]
pub struct CompressionSettings {
    /// 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// Messages with fewer bytes are sent as they are.
    pub size_min: usize,
}

impl Default for CompressionSettings {
    fn default() -> Self {
        Self {
            level: limits::COMPRESSION_LEVEL_DEFAULT,
            size_min: limits::COMPRESSION_SIZE_MIN_DEFAULT,
        }
    }
}

/// The states of zlib on one shard.
#[derive(Debug, Default)]
pub(super) struct Compression {
    pool: DeflatePool,
    /// Connections whose parameters are their own: those of `/echo`.
    codecs: HashMap<ConnId, Codec, RandomState>,
    /// How many codecs hold a deflater.
    deflaters_held: usize,
}

/// One connection's parameters and the states it keeps between messages.
#[derive(Debug)]
struct Codec {
    params: DeflateParams,
    deflater: Option<Box<Deflater>>,
    inflater: Option<Box<Inflater>>,
}

impl Compression {
    /// The frame of a publication for those who agreed on compression, compressed by the first
    /// shard that asks; `None` if it is sent as `plain`, its plain frame of that form.
    pub(super) fn compress_once<'a>(
        &mut self,
        publication: &'a Publication,
        form: Form,
        plain: &[u8],
        settings: &ShardSettings,
        stats: &ShardStats,
    ) -> Option<&'a Arc<[u8]>> {
        let CompressionSettings { level, size_min } = settings.compression;
        if plain.len() - encode::header_len(plain) < size_min {
            return None;
        }
        publication.compressed_frame(form, |payload| {
            let mut deflated = Vec::new();
            let mut deflater = self.pool.take_deflater(limits::SHARED_WINDOW_BITS, level);
            deflater.deflate_message(payload, &mut deflated);
            self.pool.put_deflater(deflater);
            count_compressed(stats, payload.len(), deflated.len());
            stats.counters.frames_encoded.add(u64::from(deflated.len() < payload.len()));
            deflated
        })
    }

    fn inflate(
        &mut self,
        conn: ConnId,
        message: &Message<'_>,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let Message { kind, payload, .. } = message;
        let codec = self.codecs.get_mut(&conn);
        match codec.filter(|codec| codec.params.incoming(Role::Server).context_takeover) {
            Some(codec) => {
                let inflater = codec.inflater.get_or_insert_with(|| Box::new(Inflater::new(true)));
                inflate_message(inflater, *kind, payload, limit, out)
            }
            None => {
                let mut inflater = self.pool.take_inflater();
                let result = inflate_message(&mut inflater, *kind, payload, limit, out);
                self.pool.put_inflater(inflater);
                result
            }
        }
    }

    fn deflate(&mut self, conn: ConnId, level: u8, payload: &[u8], out: &mut Vec<u8>) {
        let codec = self.codecs.get_mut(&conn).expect("only /echo replies, and it has a codec");
        let side = codec.params.outgoing(Role::Server);
        let may_hold = self.deflaters_held < limits::DEFLATERS_PER_SHARD_MAX;
        if codec.deflater.is_none() && side.context_takeover && may_hold {
            codec.deflater = Some(Box::new(Deflater::new(side, level)));
            self.deflaters_held += 1;
        }
        if let Some(deflater) = &mut codec.deflater {
            deflater.deflate_message(payload, out);
            return;
        }
        // Where takeover was agreed on, a message that refers to none before it is fine as well.
        let mut deflater = self.pool.take_deflater(side.window_bits, level);
        deflater.deflate_message(payload, out);
        self.pool.put_deflater(deflater);
    }
}

impl Core {
    /// Notes that a connection agreed on compression.
    pub(super) fn begin_compression(
        &mut self,
        conn: ConnId,
        protocol: Protocol,
        params: DeflateParams,
    ) {
        self.stats.counters.compressed_connections.add(1);
        if protocol == Protocol::Echo {
            let codec = Codec { params, deflater: None, inflater: None };
            self.compression.codecs.insert(conn, codec);
        }
    }

    /// Forgets a connection that agreed on compression.
    pub(super) fn end_compression(&mut self, conn: ConnId) {
        self.stats.counters.compressed_connections.sub(1);
        let compression = &mut self.compression;
        if let Some(Codec { deflater: Some(_), .. }) = compression.codecs.remove(&conn) {
            compression.deflaters_held -= 1;
        }
    }

    /// Inflates a message, within its limit, and carries out what it leads to.
    pub(super) fn inflate(&mut self, conn: ConnId, message: &Message<'_>) {
        let Some(connection) = self.slots.get_mut(conn) else { return };
        let mut payload = lend_spare(&mut self.spare, &mut self.spare_len);
        if let Some(limit) = connection.protocol.inflate_limit(&self.settings.protocol) {
            self.stats.counters.messages_inflated.add(1);
            if let Err(error) = self.compression.inflate(conn, message, limit, &mut payload) {
                self.close(conn, Some(error.close_code()), &error.to_string());
                self.give_spare(payload);
                return;
            }
        }
        let kind = message.kind;
        self.react(conn, Message { kind, compressed: false, payload: Cow::Borrowed(&payload) });
        self.give_spare(payload);
    }

    /// Replies to a connection that agreed on compression, with the message compressed unless it is
    /// short.
    pub(super) fn reply_compressed(&mut self, conn: ConnId, message: Message<'_>) {
        let CompressionSettings { level, size_min } = self.settings.compression;
        if message.payload.len() < size_min {
            self.reply(conn, message);
            return;
        }
        let mut deflated = lend_spare(&mut self.spare, &mut self.spare_len);
        self.compression.deflate(conn, level, &message.payload, &mut deflated);
        count_compressed(&self.stats, message.payload.len(), deflated.len());
        self.stats.counters.messages_sent.add(1);
        self.append(conn, |out| {
            encode::append_compressed_message(out, message.kind, &deflated);
        });
        self.mark_dirty(conn);
        self.give_spare(deflated);
    }
}

fn count_compressed(stats: &ShardStats, before: usize, after: usize) {
    stats.counters.messages_compressed.add(1);
    stats.counters.compression_input_bytes.add(before as u64);
    stats.counters.compression_output_bytes.add(after as u64);
}
