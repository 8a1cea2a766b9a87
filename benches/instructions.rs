//! The pure code that runs per message, one function a case, for `scripts/instructions`: callgrind
//! counts what each executes, so machine, load and clock make no difference.
//!
//! Run alone it measures nothing; it prints each case's name, and through how many messages, or
//! members, it went.

#![allow(clippy::print_stdout, reason = "the script reads it")]

use std::hint::black_box;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use mimalloc::MiMalloc;
use tidegate::frame::FrameBytes;
use tidegate::hub::{ChannelId, Hub, HubLimits, Member};
use tidegate::id::{ChannelName, ConnId, Owners, ShardId};
use tidegate::limits::{self, OUTBOX_BYTES_DEFAULT};
use tidegate::protocol::centrifuge::command;
use tidegate::publication::{Entry, Epoch, Payload, Publication};
use tidegate::session::Outbox;
use tidegate::ws::{DecodeLimits, Decoder, MessageKind, Opcode, Role, encode};

/// The gateway's, whose instructions count where a case allocates.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    decode();
    encode_frame();
    outbox();
    hub();
    publish();
}

/// One message that lies whole in the input: header, unmasking, UTF-8.
#[inline(never)]
fn decode_64_bytes(decoder: &mut Decoder, frame: &mut [u8]) {
    let decoded = decoder.handle(frame, &LIMITS).expect("a good frame");
    assert!(black_box(decoded).event.is_some());
}

/// One message as receive buffers bring it, so it is gathered as well.
#[inline(never)]
fn decode_1_mib(decoder: &mut Decoder, frame: &mut [u8]) {
    let mut event = None;
    for piece in frame.chunks_mut(limits::RECV_BUFFER_SIZE_DEFAULT as usize) {
        event = decoder.handle(piece, &LIMITS).expect("a good frame").event;
    }
    assert!(black_box(event).is_some());
}

fn decode() {
    let mut decoder = Decoder::new(Role::Server);
    let mut frame = Vec::new();
    let mut masked = |len: usize| {
        // Not only ASCII, as people write.
        let text: String = "Grüße, 世界; a gateway pushes. ".chars().cycle().take(len).collect();
        let end = (0..=len).rev().find(|end| text.is_char_boundary(*end)).expect("0 is one");
        let mut payload = text.into_bytes();
        payload.truncate(end);
        payload.resize(len, b'.');
        frame.clear();
        encode::append_masked(&mut frame, true, Opcode::Text, &payload, [1, 2, 3, 4]);
        frame.clone()
    };
    for _ in 0..MESSAGES {
        decode_64_bytes(&mut decoder, &mut masked(64));
    }
    say("decode_64_bytes", MESSAGES);
    for _ in 0..LARGE_MESSAGES {
        decode_1_mib(&mut decoder, &mut masked(1 << 20));
    }
    say("decode_1_mib", LARGE_MESSAGES);
}

/// One echo's frame, appended to what is there.
#[inline(never)]
fn encode_64_bytes(out: &mut Vec<u8>, payload: &[u8]) {
    encode::append_message(out, MessageKind::Text, black_box(payload));
}

fn encode_frame() {
    let mut out = Vec::with_capacity(1 << 20);
    for _ in 0..MESSAGES {
        encode_64_bytes(&mut out, &[b'x'; 64]);
    }
    say("encode_64_bytes", MESSAGES);
}

/// A delivery to a reader that keeps up: queued, taken, sent.
#[inline(never)]
fn outbox_one(outbox: &mut Outbox, frame: &FrameBytes) {
    outbox.push(frame.clone(), OUTBOX_BYTES_DEFAULT).expect("room");
    black_box(outbox.take_send(Vec::new).expect("it waits"));
    outbox.note_sent();
}

/// Ten that leave together, in a buffer that was used before.
#[inline(never)]
fn outbox_ten_gathered(outbox: &mut Outbox, frame: &FrameBytes, spare: &mut Vec<u8>) {
    for _ in 0..10 {
        outbox.push(frame.clone(), OUTBOX_BYTES_DEFAULT).expect("room");
    }
    let sent = outbox.take_send(|| std::mem::take(spare)).expect("they wait");
    let FrameBytes::Owned(bytes) = sent else { panic!("not gathered") };
    *spare = bytes;
    spare.clear();
    outbox.note_sent();
}

fn outbox() {
    let payload = Payload::text(&"x".repeat(64));
    let frame = FrameBytes::shared(payload.frame().clone(), 0, None);
    let (mut outbox, mut spare) = (Outbox::default(), Vec::new());
    for _ in 0..MESSAGES {
        outbox_one(&mut outbox, &frame);
    }
    say("outbox_one", MESSAGES);
    for _ in 0..MESSAGES {
        outbox_ten_gathered(&mut outbox, &frame, &mut spare);
    }
    say("outbox_ten_gathered", MESSAGES);
}

/// All members of a channel, one after another.
#[inline(never)]
fn hub_walk(hub: &mut Hub) {
    let channel: ChannelId = hub.begin_fan_out(CHANNEL).expect("it has members");
    while let Some(member) = hub.next_owed(channel) {
        black_box(member);
    }
}

fn hub() {
    let owners = Owners::new(NonZeroU16::MIN);
    let mut hub = Hub::new(ShardId(0), owners, HubLimits::of_one_in(1, 1 << 20), 1);
    let name: ChannelName = CHANNEL.into();
    for slot in 0..MEMBERS {
        let member = Member::new(ConnId { slot, generation: 0 }, 0);
        hub.subscribe(&name, member).expect("room");
    }
    assert!(hub.poll_mail(|_| true).is_some(), "the owner is told");
    hub.on_registered(&name, true, |_, _| {}, |_| panic!("it was accepted"));
    for _ in 0..MESSAGES / 10 {
        hub_walk(&mut hub);
    }
    say("hub_walk", MESSAGES / 10 * MEMBERS);
}

/// A publish command to the payload that all its subscribers share.
#[inline(never)]
fn publish_command(text: &str) -> Payload {
    command::check(text).expect("a good command");
    let command = command::next(text).expect("a good command");
    let (command, _) = command.expect("there is one");
    let command::Method::Publish(publish) = command.method else { panic!("another method") };
    Payload::text(publish.data.expect("it has data").get())
}

/// The Centrifuge protocol's frame of a publication.
#[inline(never)]
fn centrifuge_frame(publication: &Publication) {
    black_box(publication.json_frame(|| {}));
}

fn publish() {
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(53));
    let text = format!(r#"{{"id":7,"publish":{{"channel":"{CHANNEL}","data":{data}}}}}"#);
    let name: ChannelName = CHANNEL.into();
    let now = Instant::now();
    for offset in 1..=u64::from(MESSAGES) {
        let payload = publish_command(black_box(&text));
        let time_ms = 1_700_000_000_000;
        let entry = Entry { offset, time_ms, payload, tags: None, info: None, version: 0 };
        let epoch = Epoch::from_random(1);
        centrifuge_frame(&Publication::new(name.clone(), epoch, Arc::new(entry), now));
    }
    say("publish_command", MESSAGES);
    say("centrifuge_frame", MESSAGES);
}

/// How many messages, or members, a case went through.
fn say(case: &str, count: u32) {
    println!("{case} {count}");
}

const LIMITS: DecodeLimits =
    DecodeLimits { message_size: 1 << 20, fragments: limits::FRAGMENTS_DEFAULT };

const CHANNEL: &str = "news";

const MEMBERS: u32 = 1_000;

/// So many that what happens once, such as asking the processor what it can do, is nothing.
const MESSAGES: u32 = 1_000;

const LARGE_MESSAGES: u32 = 4;
