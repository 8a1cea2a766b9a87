//! In steady state a connection of the library allocates nothing for a small message: reading,
//! answering, and the Pongs it owes.

#[path = "allocations/counting.rs"]
mod counting;
mod pair;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use counting::{Counting, allocations};
use pair::{pair, run};
use tidegate::conn::{Conn, Control, MessageKind};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `future` allocates itself, not the runtime between its polls.
async fn counted<T>(future: impl Future<Output = T>, count: &mut usize) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let mut poll = Poll::Pending;
        *count += allocations(|| poll = future.as_mut().poll(cx));
        poll
    })
    .await
}

async fn echo(server: &mut Conn, fed: bool) {
    let message = server.read_message().await.expect("a message");
    if fed {
        server.feed(message.kind, &message.payload).await.expect("room");
    } else {
        server.write_message(message.kind, &message.payload).await.expect("a reader");
    }
}

#[test]
fn an_echo_of_small_messages_allocates_nothing() {
    run(async {
        for fed in [false, true] {
            let (mut client, mut server) = pair();
            let mut count = 0;
            for round in 0..1_100 {
                if round == 100 {
                    count = 0;
                }
                for len in [10, 200, 1_000] {
                    client.feed(MessageKind::Binary, &vec![7; len]).await.expect("room");
                }
                client.write_control(Control::Ping(b"there?")).await.expect("a reader");
                let serve = async {
                    for _ in 0..3 {
                        counted(echo(&mut server, fed), &mut count).await;
                    }
                    counted(server.flush(), &mut count).await.expect("a reader");
                };
                let receive = async {
                    for len in [10, 200, 1_000] {
                        let message = client.read_message().await.expect("an echo");
                        assert_eq!(message.payload.len(), len);
                    }
                };
                tokio::join!(serve, receive);
            }
            assert_eq!(count, 0, "fed: {fed}");
        }
    });
}
