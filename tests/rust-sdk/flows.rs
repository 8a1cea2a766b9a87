//! The flows that the Rust SDK `tokio-centrifuge` knows, against the program in TIDEGATE_BIN.
//!
//! It connects with a token, subscribes, publishes, calls, answers pings, and connects again when
//! its connection is lost. What it does not know: recovery, presence, history, join and leave, new
//! tokens for old ones, subscription tokens; and it tells nobody why a connection was refused.

#![cfg(test)]

mod running;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_centrifuge::client::{Client, RequestError};
use tokio_centrifuge::config::{BackoffReconnect, Config};
use tokio_centrifuge::subscription::Subscription;

use running::{Gateway, Proxy, TestEnd};

/// What the SDK tells.
#[derive(Debug, PartialEq)]
enum Event {
    Connecting,
    /// With the id the gateway gave it.
    Connected(String),
    Disconnected,
    Subscribed,
    Unsubscribed(u32),
    /// Data, offset, and the client that published it.
    Publication(Value, u64, Option<String>),
}

/// Events in the order in which they come.
struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    async fn next(&mut self) -> Event {
        self.0.recv().await.expect("the client lives")
    }

    async fn connected(&mut self) -> String {
        match self.next().await {
            Event::Connected(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// The offset of the next publication, which is this one.
    async fn publication(&mut self, data: Value) -> u64 {
        match self.next().await {
            Event::Publication(actual, offset, _) if actual == data => offset,
            other => panic!("{other:?}, not {data}"),
        }
    }
}

fn client(url: &str, token: &str) -> (Client, Events, mpsc::UnboundedSender<Event>) {
    let delays = BackoffReconnect {
        factor: 1.0,
        min_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(20),
    };
    let config = Config::new().with_token(token).with_reconnect_strategy(delays).use_json();
    let client = Client::new(url, config);
    let (send, events) = mpsc::unbounded_channel();
    let tell = send.clone();
    client.on_connecting(move |_| drop(tell.send(Event::Connecting)));
    let tell = send.clone();
    client.on_connected(move |e| drop(tell.send(Event::Connected(e.client_id.to_owned()))));
    let tell = send.clone();
    client.on_disconnected(move |_| drop(tell.send(Event::Disconnected)));
    (client, Events(events), send)
}

fn subscription(
    client: &Client,
    channel: &str,
    tell: &mpsc::UnboundedSender<Event>,
) -> Subscription {
    let subscription = client.new_subscription(channel);
    let send = tell.clone();
    subscription.on_subscribed(move |_| drop(send.send(Event::Subscribed)));
    let send = tell.clone();
    subscription.on_unsubscribed(move |e| drop(send.send(Event::Unsubscribed(e.code))));
    let send = tell.clone();
    subscription.on_publication(move |one| {
        let data = serde_json::from_slice(&one.data).expect("JSON");
        let from = one.info.map(|info| info.client);
        drop(send.send(Event::Publication(data, one.offset, from)));
    });
    subscription
}

/// A client that is connected and subscribed to `news`; its id.
async fn listener(url: &str) -> (Client, Subscription, Events, String) {
    let (client, mut events, tell) = client(url, "");
    client.connect().await.expect("anyone may");
    assert_eq!(events.next().await, Event::Connecting);
    let id = events.connected().await;
    let news = subscription(&client, "news", &tell);
    news.subscribe().await.expect("anyone may");
    assert_eq!(events.next().await, Event::Subscribed);
    (client, news, events, id)
}

fn error_code(result: Result<impl Sized, RequestError>) -> u32 {
    match result {
        Err(RequestError::ErrorResponse(error)) => error.code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_connects_publishes_and_hears() -> TestEnd {
    let gateway = Gateway::start(&[
        "--dev",
        "--shards=2",
        "--set=namespace.closed.presence=true",
        "--set=namespace.closed.allow_publish=false",
    ]);
    running::in_time(async {
        let (ann, ann_news, mut ann_hears, ann_id) = listener(&gateway.url()).await;
        let (_bob, bob_news, mut bob_hears, bob_id) = listener(&gateway.url()).await;
        assert_ne!(ann_id, bob_id);
        assert_eq!(ann_id.len(), 36, "{ann_id}");
        let data =
            json!({"text": "grüße 🌊\n", "list": [1, -2.5e3, null, true, {}], "deep": [[[[]]]]});
        gateway.publish("news", &data).await;
        assert_eq!(ann_hears.publication(data.clone()).await, 1);
        assert_eq!(bob_hears.publication(data).await, 1);
        // From a client, to all, itself included, with its name on it.
        bob_news.publish(b"[1,2]".to_vec()).await.expect("anyone may");
        for hears in [&mut ann_hears, &mut bob_hears] {
            let expected = Event::Publication(json!([1, 2]), 2, Some(bob_id.clone()));
            assert_eq!(hears.next().await, expected);
        }
        assert_eq!(error_code(ann.rpc("method", b"{}".to_vec()).await), 104);
        assert_eq!(error_code(ann.publish("closed:a", b"1".to_vec()).await), 103);
        ann_news.unsubscribe().await;
        assert_eq!(ann_hears.next().await, Event::Unsubscribed(0));
        assert_eq!(gateway.presence("news").await, [bob_id]);
        ann.disconnect().await;
        assert_eq!(ann_hears.next().await, Event::Disconnected);
    })
    .await;
    gateway.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_because_it_answers_pings() -> TestEnd {
    let pings = ["--set=limits.ping_interval=50ms", "--set=limits.pong_timeout=50ms"];
    let gateway = Gateway::start(&[&["--dev"][..], &pings].concat());
    running::in_time(async {
        let (_ann, _news, mut hears, _) = listener(&gateway.url()).await;
        // Connect, subscribe, and ten pongs.
        while gateway.metric("tidegate_commands_total").await < 12 {}
        gateway.publish("news", &json!(1)).await;
        hears.publication(json!(1)).await;
    })
    .await;
    gateway.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_after_its_connection_was_killed() -> TestEnd {
    let gateway = Gateway::start(&["--dev", "--shards=2"]);
    running::in_time(async {
        let proxy = Proxy::to(&gateway.clients).await;
        let (_ann, _news, mut hears, before) = listener(&proxy.url()).await;
        gateway.publish("news", &json!("before")).await;
        assert_eq!(hears.publication(json!("before")).await, 1);
        proxy.kill().await;
        assert_eq!(hears.next().await, Event::Connecting);
        // Without a Close, the gateway finds out by itself.
        while gateway.presence("news").await == [before.clone()] {}
        for number in 0..5 {
            gateway.publish("news", &json!(number)).await;
        }
        proxy.resume().await;
        let after = hears.connected().await;
        assert_ne!(before, after);
        assert_eq!(hears.next().await, Event::Subscribed);
        gateway.publish("news", &json!("after")).await;
        // It does not ask for what it missed.
        assert_eq!(hears.publication(json!("after")).await, 7);
        assert_eq!(gateway.presence("news").await, [after]);
    })
    .await;
    gateway.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_after_a_restart() -> TestEnd {
    let gateway = Gateway::start(&["--dev"]);
    running::in_time(async {
        let (_ann, _news, mut hears, _) = listener(&gateway.url()).await;
        let address = format!("--listen={}", gateway.clients);
        gateway.stop()?;
        assert_eq!(hears.next().await, Event::Connecting, "3001 says so");
        let again = Gateway::start(&["--dev", &address]);
        hears.connected().await;
        assert_eq!(hears.next().await, Event::Subscribed);
        again.publish("news", &json!(1)).await;
        assert_eq!(hears.publication(json!(1)).await, 1);
        again.stop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_token_says_who_it_is() -> TestEnd {
    let users = ["subscribe", "publish"].map(|what| format!("--set=channel.allow_{what}=user"));
    let gateway = Gateway::start(&[&users[0], &users[1], "--set=channel.presence=true"]);
    running::in_time(async {
        let good = running::token(&["--user", "ann"]);
        // This is all it says of a refusal.
        for bad in ["", &format!("{good}x"), &running::token(&["--user", "ann", "--channel", "a"])]
        {
            let (refused, _events, _) = client(&gateway.url(), bad);
            refused.connect().await.expect_err("it is refused");
        }
        let (ann, mut hears, tell) = client(&gateway.url(), &good);
        ann.connect().await.expect("a good token");
        assert_eq!(hears.next().await, Event::Connecting);
        hears.connected().await;
        for (channel, code) in [("$private", 103), ("room#bob", 103), ("unknown:a", 102)] {
            let refused = subscription(&ann, channel, &tell);
            refused.subscribe().await.expect_err("it is refused");
            assert_eq!(hears.next().await, Event::Unsubscribed(code), "{channel}");
        }
        let room = subscription(&ann, "room#ann", &tell);
        room.subscribe().await.expect("it is hers");
        assert_eq!(hears.next().await, Event::Subscribed);
        room.publish(b"1".to_vec()).await.expect("users may");
        hears.publication(json!(1)).await;
    })
    .await;
    gateway.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_a_backend_wants() -> TestEnd {
    let gateway = Gateway::start(&["--dev", "--shards=2"]);
    running::in_time(async {
        let (_ann, _news, mut hears, id) = listener(&gateway.url()).await;
        gateway.api("unsubscribe", &json!({"user": "", "client": id, "channel": "news"})).await;
        assert_eq!(hears.next().await, Event::Unsubscribed(2000));
        gateway.api("disconnect", &json!({"user": "", "client": id})).await;
        assert_eq!(hears.next().await, Event::Disconnected, "3503 says that it stays away");
        let (_bob, _news, mut hears, id) = listener(&gateway.url()).await;
        let again = json!({"code": 3011, "reason": "elsewhere"});
        gateway.api("disconnect", &json!({"user": "", "client": id, "disconnect": again})).await;
        assert_eq!(hears.next().await, Event::Connecting);
        assert_ne!(hears.connected().await, id);
        assert_eq!(hears.next().await, Event::Subscribed);
    })
    .await;
    gateway.stop()
}

/// Errors of the SDK's own are none: whatever it was sent, it understood.
#[tokio::test(flavor = "multi_thread")]
async fn it_understands_everything_it_is_sent() -> TestEnd {
    let gateway = Gateway::start(&["--dev"]);
    running::in_time(async {
        let (ann, mut hears, tell) = client(&gateway.url(), "");
        let errors = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&errors);
        ann.on_error(move |error| noted.lock().expect("no panic").push(error.to_string()));
        ann.connect().await.expect("anyone may");
        assert_eq!(hears.next().await, Event::Connecting);
        hears.connected().await;
        subscription(&ann, "news", &tell).subscribe().await.expect("anyone may");
        assert_eq!(hears.next().await, Event::Subscribed);
        // As deep as a publication may be, and not deeper: this reader stops at 127 levels.
        let deep = "[".repeat(120) + &"]".repeat(120);
        let deep: Value = serde_json::from_str(&deep).expect("JSON");
        for data in [json!(null), json!(""), json!(0), json!({"a\nb": "\u{2028}\\"}), deep] {
            gateway.publish("news", &data).await;
            hears.publication(data).await;
        }
        assert_eq!(*errors.lock().expect("no panic"), [] as [String; 0]);
    })
    .await;
    gateway.stop()
}
