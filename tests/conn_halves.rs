//! Two halves at each end of a connection, all of them busy at once, and whoever sends control
//! frames beside them: everybody who waits is woken, and nothing is lost or overtaken.

mod pair;

use std::cell::Cell;
use std::rc::Rc;

use pair::{pair_with, run};
use tidegate::conn::{
    CloseCode, Control, Controls, DeflateParams, Error, MessageKind, ReadHalf, WriteHalf,
};

const MESSAGE_COUNT: u32 = 2_000;
const PING_COUNT: u32 = 300;

/// Message `number`: its number, and bytes up to a size that changes from one to the next.
fn message(number: u32) -> Vec<u8> {
    let len = match number % 50 {
        0 => 150_000,
        1..10 => 9_000 + number as usize,
        _ => number as usize % 300,
    };
    let mut message = number.to_be_bytes().to_vec();
    message.resize(4 + len, number as u8);
    message
}

async fn send(mut write: WriteHalf) -> WriteHalf {
    for number in 0..MESSAGE_COUNT {
        let message = message(number);
        match number % 3 {
            0 => write.write_message(MessageKind::Binary, &message).await.expect("a reader"),
            1 => write.feed(MessageKind::Binary, &message).await.expect("a reader"),
            _ => {
                let mut writer = write.next_writer(MessageKind::Binary).expect("open");
                for part in message.chunks(50_000) {
                    writer.write(part).await.expect("a reader");
                }
                writer.close().await.expect("a reader");
            }
        }
    }
    write.write_control(Control::Close(Some(CloseCode::NORMAL), "")).await.expect("a reader");
    write
}

/// Reads until the peer's Close; gives the Pongs that came on the way.
async fn receive(mut read: ReadHalf) -> u32 {
    let pong_count = Rc::new(Cell::new(0));
    let count = Rc::clone(&pong_count);
    read.set_pong_handler(move |_, payload| {
        let number = u32::from_be_bytes(payload.try_into()?);
        assert!(count.replace(number + 1) <= number, "in order");
        Ok(())
    });
    // What is still to be sent must not be cut off by our answer.
    read.set_close_handler(|_, _| Ok(()));
    for number in 0..MESSAGE_COUNT {
        let expected = message(number);
        if number % 2 == 0 {
            let read = read.read_message().await.expect("a message");
            assert!(*read.payload == expected[..], "message {number}");
        } else {
            let (_, mut reader) = read.next_reader().await.expect("a message");
            let mut read = Vec::new();
            reader.read_to_end(&mut read).await.expect("all of it");
            assert!(read == expected, "message {number}");
        }
    }
    let end = read.read_message().await.map(|_| ());
    assert!(matches!(end, Err(Error::Closed(_))), "{end:?}");
    pong_count.get()
}

async fn ping(controls: Controls) {
    for number in 0..PING_COUNT {
        match controls.write_control(Control::Ping(&number.to_be_bytes())).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(Error::CloseSent | Error::Dropped) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn everybody_gets_everything_with_all_halves_busy_at_once() {
    let takeover = DeflateParams {
        server_window_bits: 12,
        client_window_bits: 15,
        server_no_context_takeover: false,
        client_no_context_takeover: true,
    };
    for deflate in [None, Some(takeover)] {
        run(async {
            let (client, server) = pair_with(deflate);
            let mut tasks = Vec::new();
            for end in [client, server] {
                let (read, write) = end.split();
                tokio_uring::spawn(ping(write.controls()));
                let sending = tokio_uring::spawn(send(write));
                tasks.push((sending, tokio_uring::spawn(receive(read))));
            }
            for (sending, receiving) in tasks {
                let write = sending.await.expect("no panic");
                let pong_count = receiving.await.expect("no panic");
                assert!(pong_count > 0, "Pings were answered");
                drop(write);
            }
        });
    }
}
