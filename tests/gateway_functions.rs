//! What `/echo` and `/raw` promise, against the running gateway: limits, permissions, channels,
//! publishing. Each test runs twice, with the defaults and with the smallest rings and mailboxes.

mod gateway;

use std::thread;

use gateway::client::{Client, Incoming};
use gateway::{Gateway, http};
use tidegate::limits;
use tidegate::ws::Opcode;

macro_rules! with_usual_and_tiny_rings {
    ($($name:ident)*) => {
        mod usual { $(#[test] fn $name() { super::$name(&[]); })* }
        mod tiny { $(#[test] fn $name() { super::$name(super::gateway::TINY); })* }
    };
}

with_usual_and_tiny_rings! {
    an_echo_of_the_limit_comes_back_and_one_byte_more_is_1009
    a_sender_of_too_much_reads_1009_after_it_has_sent_all
    an_echo_of_as_many_fragments_as_allowed_comes_back_and_one_more_is_1008
    a_peer_that_does_not_read_its_echoes_is_not_read_and_never_closed
    refusals_of_raw_have_their_status_and_say_why
    as_many_channels_as_allowed_are_subscribed_and_left_at_close
    a_connection_gets_what_is_published_to_each_of_its_channels
    a_channel_named_twice_is_subscribed_once
    what_a_publisher_sends_is_published_to_its_first_channel
    messages_and_publications_above_their_limits_are_refused_by_name
    a_stopped_reader_gets_whole_frames_and_3008
    what_is_no_json_is_refused_and_nobody_is_disconnected
}

/// Channels take what is no JSON.
const ANY_BYTES: &[&str] = &["--set=channel.publication_format=binary"];

fn dev(settings: &[&str], more: &[&str]) -> Gateway {
    Gateway::dev(&[settings, ANY_BYTES, more].concat())
}

/// Bytes that repeat with no short period.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// Compares without printing megabytes.
fn assert_same(actual: &[u8], expected: &[u8]) {
    assert_eq!(actual.len(), expected.len());
    let same = actual.iter().zip(expected).take_while(|(a, b)| a == b).count();
    assert_eq!(same, expected.len(), "the first bytes are the same, not that one");
}

fn an_echo_of_the_limit_comes_back_and_one_byte_more_is_1009(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut client = Client::connect(gateway.clients, "/echo");
    let message = noise(limits::ECHO_MESSAGE_SIZE_DEFAULT, 1);
    let mut writer = client.writer();
    thread::scope(|scope| {
        scope.spawn(|| writer.send(Opcode::Binary, &message));
        assert_same(&client.binary(), &message);
    });
    client.ping(b"still there");
    let len = (limits::ECHO_MESSAGE_SIZE_DEFAULT as u64 + 1).to_be_bytes();
    client.send_raw(&[&[0x82, 0xFF], &len[..], &[0; 4]].concat());
    assert_eq!(client.closed(), (1009, "message over the size limit".to_owned()));
    drop((client, writer));
    gateway.await_no_clients();
    gateway.stop();
}

fn a_sender_of_too_much_reads_1009_after_it_has_sent_all(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut client = Client::connect(gateway.clients, "/echo");
    let len = limits::ECHO_MESSAGE_SIZE_DEFAULT + 1;
    client.send_raw(&[&[0x82, 0xFF], &(len as u64).to_be_bytes()[..], &[0; 4]].concat());
    // The Close first: then all of the payload is what a closing gateway discards.
    let close = client.next();
    assert_eq!(close, Incoming::Close(Some((1009, "message over the size limit".to_owned()))));
    client.send_raw(&noise(len, 2));
    assert_eq!(client.next(), Incoming::End, "and no reset");
    drop(client);
    gateway.stop();
}

fn an_echo_of_as_many_fragments_as_allowed_comes_back_and_one_more_is_1008(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut client = Client::connect(gateway.clients, "/echo");
    let count = limits::ECHO_FRAGMENTS_DEFAULT as usize;
    let fragments = |count: usize, last: u8| {
        // Masked with 0: each fragment holds its own byte as it is.
        let first = |index: usize| match index {
            0 => 0x02,
            _ if index + 1 == count => last,
            _ => 0x00,
        };
        let frame = |index: usize| [first(index), 0x81, 0, 0, 0, 0, index as u8];
        (0..count).flat_map(frame).collect::<Vec<u8>>()
    };
    client.send_raw(&fragments(count, 0x80));
    let expected: Vec<u8> = (0..count).map(|index| index as u8).collect();
    assert_same(&client.binary(), &expected);
    client.send_raw(&fragments(count + 1, 0x80));
    assert_eq!(client.closed(), (1008, "too many fragments".to_owned()));
    drop(client);
    gateway.stop();
}

fn a_peer_that_does_not_read_its_echoes_is_not_read_and_never_closed(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut client = Client::connect(gateway.clients, "/echo");
    // Both sides of every limit on the way: buffer, gathering, outbox.
    let sizes = [0, 1, 125, 126, 4_000, 20_000, 65_536, 70_000, 300_000, 2_000_000];
    let messages: Vec<_> = (0..280).map(|n| noise(sizes[n % sizes.len()], n as u64)).collect();
    let total: usize = messages.iter().map(Vec::len).sum();
    assert!(total > 64 * 1024 * 1024, "{total}");
    let mut writer = client.writer();
    thread::scope(|scope| {
        scope.spawn(|| messages.iter().for_each(|message| writer.send(Opcode::Binary, message)));
        let paused =
            |metrics: &gateway::metrics::Metrics| metrics.sum("tidegate_reads_paused_total") > 0;
        gateway.await_metrics("the peer is not read", paused);
        for message in &messages {
            assert_same(&client.binary(), message);
        }
    });
    client.ping(b"still there");
    let metrics = gateway.metrics();
    assert_eq!(metrics.sum("tidegate_slow_consumers_disconnected_total"), 0);
    assert_eq!(metrics.sum("tidegate_outbox_dropped_bytes_total"), 0);
    client.close(1000);
    gateway.stop();
}

fn refusals_of_raw_have_their_status_and_say_why(settings: &[&str]) {
    let options = [
        "--set=channel.allow_subscribe=anyone",
        "--set=namespace.public.allow_subscribe=anyone",
        "--set=namespace.public.allow_publish=anyone",
        "--set=namespace.secret.allow_publish=anyone",
    ];
    let gateway = Gateway::serve(&[settings, &options].concat());
    let too_many: String = (0..129).map(|n| format!("&channel=public:{n}")).collect();
    let too_long = format!("/raw?channel=public:{}", "x".repeat(249));
    for (target, status, why) in [
        (
            "/raw?channel=secret:a",
            403,
            "under [namespace.\"secret\"] with allow_subscribe = \"anyone\"",
        ),
        ("/raw?channel=news&channel=unknown:a", 403, "adds it as [namespace.\"unknown\"]"),
        ("/raw?channel=news&publish=1", 403, "under [channel] with allow_publish = \"anyone\""),
        ("/raw?channel=news%23ann", 403, "its name lets only certain users in"),
        ("/connection/websocket?format=protobuf", 400, "in JSON only"),
        ("/raw", 400, "names no channel"),
        ("/raw?channel=", 400, "channel number 1 of the query is empty"),
        ("/raw?channel=news&channel=%FF", 400, "channel number 2 of the query is not UTF-8"),
        (&too_long, 400, "longer than 255 bytes"),
        ("/raw?channel=news&publish=2", 400, "publish takes 1 or 0"),
        (&format!("/raw?{}", &too_many[1..]), 400, "more than 128 channels"),
        ("/echo", 404, "enabled = true"),
        ("/", 404, "nothing at this path"),
        ("/raw/", 404, "nothing at this path"),
    ] {
        let refused = Client::try_connect(gateway.clients, target, &[]);
        let answer = refused.err().unwrap_or_else(|| panic!("{target} was accepted"));
        let text = answer.text();
        assert_eq!(answer.status, status, "{target}: {text}");
        assert!(text.contains(why), "{target}: {text}");
    }
    let plain = http::get(gateway.clients, "/raw?channel=news");
    assert_eq!(plain.status, 426);
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    assert_eq!(plain.header("sec-websocket-version"), Some("13"));
    assert!(plain.text().contains("connect with a WebSocket client"), "{}", plain.text());
    let longest = format!("/raw?channel=public:{}", "x".repeat(248));
    for target in ["/raw?channel=news", "/raw?channel=public:a&channel=news", &longest] {
        Client::connect(gateway.clients, target).close(1000);
    }
    let mut publisher = Client::connect(gateway.clients, "/raw?channel=public:a&publish=1");
    publisher.send_text("\"mine\"");
    assert_eq!(publisher.text(), "\"mine\"");
    drop(publisher);
    gateway.stop();
}

fn what_is_no_json_is_refused_and_nobody_is_disconnected(settings: &[&str]) {
    let gateway = Gateway::dev(settings);
    let mut client = Client::connect(gateway.clients, "/raw?channel=a&publish=1");
    client.send_text("not JSON");
    client.send(Opcode::Binary, b"\xFF");
    client.send(Opcode::Binary, b"[1]");
    assert_eq!(client.binary(), b"[1]", "JSON, whatever kind of message it stands in");
    let calls = [
        (r#"{"channel":"a","b64data":"AP8="}"#, r#""code":107"#),
        (r#"{"channel":"a","b64data":"WzJd"}"#, r#""offset":2"#),
    ];
    for (call, answer) in calls {
        let answered = gateway.call("/api/publish", call);
        assert!(answered.status == 200 && answered.text().contains(answer), "{}", answered.text());
    }
    assert_eq!(client.binary(), b"[2]");
    assert_eq!(gateway.metrics().sum("tidegate_publications_refused_total"), 2);
    client.close(1000);
    gateway.stop();
}

fn as_many_channels_as_allowed_are_subscribed_and_left_at_close(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let count = limits::CHANNELS_PER_CONNECTION_MAX;
    let query: String = (0..count).map(|n| format!("&channel=c{n}")).collect();
    let mut client = Client::connect(gateway.clients, &format!("/raw?{}", &query[1..]));
    assert_eq!(gateway.metrics().sum("tidegate_subscriptions"), count as u64);
    for n in 0..count {
        gateway.publish(&format!("c{n}"), &n.to_string());
    }
    let mut received: Vec<usize> =
        (0..count).map(|_| client.text().parse().expect("what was published")).collect();
    received.sort_unstable();
    assert!(received.into_iter().eq(0..count));
    client.close(1000);
    gateway.await_no_clients();
    // Nobody listens any more: no frame is built.
    let before = gateway.metrics().sum("tidegate_frames_encoded_total");
    gateway.publish("c0", "1");
    assert_eq!(gateway.metrics().sum("tidegate_frames_encoded_total"), before);
    gateway.stop();
}

fn a_connection_gets_what_is_published_to_each_of_its_channels(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut both = Client::connect(gateway.clients, "/raw?channel=a&channel=b%20%C3%BC");
    let mut one = Client::connect(gateway.clients, "/raw?channel=b+%C3%BC");
    // The JSON text comes as it was sent, blanks and escapes included.
    let text = r#"{ "n" : 1.0e0,"u":"\u00fc" }"#;
    let first = gateway.publish("a", text);
    assert!(first.contains(r#""offset":1"#) && first.contains(r#""epoch":""#), "{first}");
    assert_eq!(both.text(), text);
    let binary = gateway.call("/api/publish", r#"{"channel":"b ü","b64data":"AP8="}"#);
    assert_eq!(binary.status, 200);
    assert_eq!((both.binary(), one.binary()), (vec![0, 255], vec![0, 255]));
    for n in 0..100 {
        gateway.publish("b ü", &n.to_string());
    }
    for n in 0..100 {
        assert_eq!((both.text(), one.text()), (n.to_string(), n.to_string()));
    }
    gateway.publish("elsewhere", "0");
    both.ping(b"nothing else came");
    drop((both, one));
    gateway.stop();
}

fn a_channel_named_twice_is_subscribed_once(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut client =
        Client::connect(gateway.clients, "/raw?channel=a&channel=%61&channel=b&channel=a");
    assert_eq!(gateway.metrics().sum("tidegate_subscriptions"), 2);
    gateway.publish("a", "1");
    assert_eq!(client.text(), "1");
    client.ping(b"once");
    client.close(1000);
    gateway.await_no_clients();
    gateway.stop();
}

fn what_a_publisher_sends_is_published_to_its_first_channel(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut publisher = Client::connect(gateway.clients, "/raw?channel=a&channel=b&publish=1");
    let mut on_a = Client::connect(gateway.clients, "/raw?channel=a");
    let mut on_b = Client::connect(gateway.clients, "/raw?channel=b");
    publisher.send_text("text, not JSON");
    publisher.send(Opcode::Binary, &[0, 255]);
    for client in [&mut publisher, &mut on_a] {
        assert_eq!(client.text(), "text, not JSON");
        assert_eq!(client.binary(), [0, 255]);
    }
    on_b.ping(b"nothing came");
    on_b.send_text("may I?");
    assert_eq!(on_b.closed(), (1008, "to publish, connect with publish=1".to_owned()));
    drop((publisher, on_a, on_b));
    gateway.stop();
}

fn messages_and_publications_above_their_limits_are_refused_by_name(settings: &[&str]) {
    let gateway = dev(settings, &["--set=limits.publication_size=1000"]);
    let mut client = Client::connect(gateway.clients, "/raw?channel=a&publish=1");
    client.send(Opcode::Binary, &noise(1_000, 1));
    assert_same(&client.binary(), &noise(1_000, 1));
    client.send(Opcode::Binary, &noise(1_001, 1));
    assert_eq!(client.closed(), (1009, "message above limits.publication_size".to_owned()));

    let string = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    gateway.publish("a", &string(1_000));
    let body = format!(r#"{{"channel":"a","data":{}}}"#, string(1_001));
    let answer = gateway.call("/api/publish", &body);
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.starts_with(r#"{"error":{"code":107,"#), "{text}");
    assert!(text.contains("limits.publication_size (1000)"), "{text}");
    drop(client);
    gateway.stop();

    let gateway = dev(settings, &[]);
    let mut client = Client::connect(gateway.clients, "/raw?channel=a&publish=1");
    client.send(Opcode::Binary, &noise(limits::MESSAGE_SIZE_DEFAULT, 2));
    assert_same(&client.binary(), &noise(limits::MESSAGE_SIZE_DEFAULT, 2));
    client.send(Opcode::Binary, &noise(limits::MESSAGE_SIZE_DEFAULT + 1, 2));
    assert_eq!(client.closed(), (1009, "message over the size limit".to_owned()));
    drop(client);
    let frames: Vec<u8> =
        [0x01].into_iter().chain([0; 1_024]).flat_map(|b| [b, 0x80, 0, 0, 0, 0]).collect();
    let mut client = Client::connect(gateway.clients, "/raw?channel=a&publish=1");
    client.send_raw(&frames);
    assert_eq!(client.closed(), (1008, "too many fragments".to_owned()));
    drop(client);
    gateway.stop();
}

fn a_stopped_reader_gets_whole_frames_and_3008(settings: &[&str]) {
    let gateway = dev(settings, &[]);
    let mut stopped = Client::connect(gateway.clients, "/raw?channel=a");
    let mut reading = Client::connect(gateway.clients, "/raw?channel=a");
    let payload = |n: usize| format!("\"{n} {}\"", "x".repeat(60_000));
    let mut published = 0;
    while gateway.metrics().sum("tidegate_slow_consumers_disconnected_total") == 0 {
        gateway.publish("a", &payload(published));
        assert_eq!(reading.text(), payload(published));
        published += 1;
    }
    let mut received = 0;
    let close = loop {
        match stopped.next() {
            Incoming::Text(text) => assert!(text == payload(received), "frame {received}"),
            other => break other,
        }
        received += 1;
    };
    assert_eq!(close, Incoming::Close(Some((3008, "slow consumer".to_owned()))));
    assert_eq!(stopped.next(), Incoming::End);
    assert!(received < published, "{received} of {published}");
    drop(stopped);
    reading.ping(b"others are served");
    let metrics = gateway.await_metrics("it is gone", |metrics| {
        metrics.sum_with("tidegate_connections_closed_total", "code=\"3008\"") == 1
    });
    assert!(metrics.sum("tidegate_outbox_dropped_bytes_total") > 0);
    reading.close(1000);
    gateway.await_no_clients();
    gateway.stop();
}
