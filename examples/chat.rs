//! Chat rooms: what one member of a room says, all of them get.
//!
//! `cargo run --example chat`, then open the address it prints in two windows. A message is encoded
//! once for all. Each member has a bounded queue: who does not keep up is dropped, nobody waits.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tidegate::conn::{Control, Error, PreparedMessage, ReadHalf, Upgrader, WriteHalf};
use tidegate::ws::{
    CloseCode,
    handshake::{Reply, Status},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_uring::net::{TcpListener, TcpStream};

const MESSAGE_SIZE_MAX: usize = 4 * 1024;
const QUEUE_LEN_MAX: usize = 256;
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PONG_PATIENCE: Duration = Duration::from_secs(60);

type Said = Rc<PreparedMessage>;
type Failure = Box<dyn std::error::Error>;

/// The members of each room, and their queues.
#[derive(Default)]
struct Hub(RefCell<HashMap<String, HashMap<SocketAddr, Sender<Said>>>>);

impl Hub {
    /// Tells everyone in the room; a member whose queue is full is dropped from it.
    fn say(&self, room: &str, said: &Said) {
        if let Some(members) = self.0.borrow_mut().get_mut(room) {
            members.retain(|_, queue| queue.try_send(Rc::clone(said)).is_ok());
        }
    }

    fn leave(&self, room: &str, member: SocketAddr) {
        let mut rooms = self.0.borrow_mut();
        rooms.get_mut(room).map(|members| members.remove(&member));
        rooms.retain(|_, members| !members.is_empty());
    }
}

fn main() -> Result<(), Failure> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    tokio_uring::start(async move {
        let listener = TcpListener::bind(address.parse()?)?;
        println!("open http://{}/?room=lobby", listener.local_addr()?);
        let hub = Rc::new(Hub::default());
        loop {
            let (stream, member) = listener.accept().await?;
            let hub = Rc::clone(&hub);
            tokio_uring::spawn(async move {
                let ended = serve(&hub, stream, member).await;
                ended.unwrap_or_else(|error| eprintln!("{member}: {error}"));
            });
        }
    })
}

/// One client: the page, or a member of the room its query names.
async fn serve(hub: &Hub, stream: TcpStream, member: SocketAddr) -> Result<(), Failure> {
    let handshake = Upgrader::new().enable_compression(true).accept(stream).await?;
    if handshake.request().path != "/chat" {
        let (content_type, body) = ("text/html; charset=utf-8", include_bytes!("chat.html").into());
        handshake.respond(&Reply { status: Status::Ok, content_type, headers: &[], body }).await;
        return Ok(());
    }
    let room = handshake.request().query.unwrap_or_default().to_owned();
    let (read, write) = handshake.upgrade().await?.split();
    let (sender, queue) = channel(QUEUE_LEN_MAX);
    hub.0.borrow_mut().entry(room.clone()).or_default().insert(member, sender);
    let ended = tokio::select! {
        ended = listen(hub, &room, read) => ended,
        ended = tell(write, queue) => ended,
    };
    hub.leave(&room, member);
    Ok(ended?)
}

/// Passes on what the member says, until it leaves. Its silence is fine while it answers pings.
async fn listen(hub: &Hub, room: &str, mut read: ReadHalf) -> Result<(), Error> {
    let alive = Rc::new(Cell::new(true));
    let heard = Rc::clone(&alive);
    read.set_pong_handler(move |_, _| Ok(()).inspect(|()| heard.set(true)));
    read.set_read_limit(MESSAGE_SIZE_MAX);
    loop {
        read.set_read_deadline(Some(Instant::now() + PONG_PATIENCE));
        match read.read_message().await {
            Ok(said) => hub.say(room, &Rc::new(PreparedMessage::new(said.kind, &*said.payload)?)),
            Err(Error::TimedOut) if alive.take() => {}
            Err(Error::Closed(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Tells the member what is said, until it is dropped; then waits for its answer to the Close.
async fn tell(mut write: WriteHalf, mut queue: Receiver<Said>) -> Result<(), Error> {
    let mut pings = tokio::time::interval(PING_INTERVAL);
    loop {
        write.set_write_deadline(Some(Instant::now() + WRITE_PATIENCE));
        tokio::select! {
            said = queue.recv() => match said {
                Some(said) => write.write_prepared(&said).await?,
                None => break,
            },
            _ = pings.tick() => write.write_control(Control::Ping(b"")).await?,
        }
    }
    write.write_control(Control::Close(CloseCode::new(1013), "too slow")).await?;
    tokio::time::sleep(WRITE_PATIENCE).await;
    Ok(())
}
