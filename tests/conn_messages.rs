//! Whole messages between two ends of `tidegate::conn`.

mod pair;

use pair::{pair, run};
use tidegate::conn::{is_close_error, is_unexpected_close_error};
use tidegate::ws::{CloseCode, MessageKind};

#[test]
fn messages_of_every_boundary_length_arrive_in_both_directions() {
    run(async {
        let (mut client, mut server) = pair();
        let echo = tokio_uring::spawn(async move {
            loop {
                match server.read_message().await {
                    Ok(message) => server
                        .write_message(message.kind, &message.payload)
                        .await
                        .expect("a reader"),
                    Err(error) => return error,
                }
            }
        });
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let payload: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            client.write_message(MessageKind::Binary, &payload).await.expect("an echo");
            let message = client.read_message().await.expect("an echo");
            assert_eq!(message.kind, MessageKind::Binary);
            assert!(*message.payload == payload[..], "{len} bytes");
        }
        client.write_message(MessageKind::Text, "grüße".as_bytes()).await.expect("an echo");
        assert_eq!(client.read_message().await.expect("an echo").as_text(), Some("grüße"));

        client.close(CloseCode::GOING_AWAY, "bye").await.expect("an answer");
        let error = echo.await.expect("no panic");
        assert!(is_close_error(&error, &[1000, 1001]), "{error}");
        assert!(!is_unexpected_close_error(&error, &[1001]), "{error}");
    });
}
