//! Frames to the socket: the queue, and the one write in flight.
//!
//! Both halves of a connection, and whoever sends control frames, share one queue. Only whole
//! frames enter it, so a control frame gets between the fragments of a message and never into a
//! frame. A write belongs to the connection and not to the call that waits for it: a call that is
//! dropped leaves its frames in the queue, whole.
//!
//! Invariants: at most one write is in flight, since more could be reordered. `written` never
//! exceeds `queued_end`, and their difference is what lies in `in_flight` and `queued`. Once
//! `fault` is set nothing is queued or submitted any more.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio_uring::buf::{BoundedBuf, Slice};
use tokio_uring::net::TcpStream;
use tokio_uring::{InFlightOneshot, WriteData, WriteTransform};

use super::Error;
use super::controls::{Control, check_control};
use super::keys::Keys;
use super::wakers::Wakers;
use crate::limits;
use crate::ws::{MessageKind, Opcode, Role, encode};

/// The sending side of one socket. Dropped, it shuts the socket down, which ends what is in flight.
pub(super) struct Outgoing {
    /// `None` if the socket was taken out.
    stream: Option<Rc<TcpStream>>,
    role: Role,
    keys: Keys,
    /// Whole frames, behind those in flight.
    queued: Vec<u8>,
    in_flight: Option<InFlight>,
    /// The buffer that is neither in flight nor filled.
    spare: Vec<u8>,
    /// The latest Pong that found too much in the queue: it goes out behind that.
    held_pong: Option<Vec<u8>>,
    /// Bytes queued since the beginning.
    queued_end: u64,
    /// Of those, how many the kernel took.
    written: u64,
    close_queued: bool,
    fault: Option<Error>,
    wakers: Arc<Wakers>,
    /// Wakes all `wakers`.
    waker: Waker,
}

type Buffer = Slice<Vec<u8>>;
type InFlight = InFlightOneshot<WriteData<Buffer>, WriteTransform<Buffer>>;

impl Outgoing {
    pub(super) fn new(stream: Rc<TcpStream>, role: Role) -> Self {
        let wakers = Arc::new(Wakers::default());
        Self {
            stream: Some(stream),
            role,
            keys: Keys::new(),
            queued: Vec::new(),
            in_flight: None,
            spare: Vec::new(),
            held_pong: None,
            queued_end: 0,
            written: 0,
            close_queued: false,
            fault: None,
            waker: Waker::from(Arc::clone(&wakers)),
            wakers,
        }
    }

    /// Whether a data frame may be queued now.
    ///
    /// # Errors
    /// The socket or an earlier write failed, or a Close was queued.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None if self.close_queued => Err(Error::CloseSent),
            None => Ok(()),
        }
    }

    /// Waits until the queue has room for another frame, of any size.
    ///
    /// # Errors
    /// As [`check_open`](Self::check_open).
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check_open()?;
        if self.queued.len() < limits::CONN_QUEUE_MAX {
            return Poll::Ready(Ok(()));
        }
        // The queue empties as one: into the next write.
        let before_queue = self.queued_end - self.queued.len() as u64;
        self.poll_written(cx, before_queue)
    }

    /// Queues a frame. The caller has checked that it may.
    pub(super) fn queue(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        self.append(|role, out, keys| match role {
            Role::Server => {
                out.reserve(encode::HEADER_MAX + payload.len());
                encode::append_header(out, fin, opcode, payload.len());
                out.extend_from_slice(payload);
            }
            Role::Client => encode::append_masked(out, fin, opcode, payload, keys.draw()),
        });
    }

    /// Queues the first frame of a compressed message. The caller has checked that it may.
    pub(super) fn queue_compressed(&mut self, fin: bool, kind: MessageKind, deflated: &[u8]) {
        self.append(|role, out, keys| match role {
            Role::Server => {
                out.reserve(encode::HEADER_MAX + deflated.len());
                encode::append_compressed_header(out, fin, kind, deflated.len());
                out.extend_from_slice(deflated);
            }
            Role::Client => {
                encode::append_compressed_masked(out, fin, kind, deflated, keys.draw());
            }
        });
    }

    /// Queues a control frame and begins to send it, without waiting. While the queue is full only
    /// the latest Pong is kept, and sent behind what is in it.
    ///
    /// # Errors
    /// As [`check_open`](Self::check_open); the frame is too long; a Ping finds the queue full.
    pub(super) fn queue_control(&mut self, control: Control<'_>) -> Result<(), Error> {
        check_control(control)?;
        self.check_open()?;
        let is_full = self.queued.len() >= limits::CONN_QUEUE_MAX;
        match control {
            Control::Ping(_) if is_full => return Err(Error::QueueFull),
            Control::Pong(payload) if is_full => self.held_pong = Some(payload.to_vec()),
            Control::Ping(payload) => self.queue(true, Opcode::Ping, payload),
            Control::Pong(payload) => {
                self.held_pong = None;
                self.queue(true, Opcode::Pong, payload);
            }
            Control::Close(code, reason) => {
                self.append(|role, out, keys| match role {
                    Role::Server => encode::append_close(out, code, reason),
                    Role::Client => encode::append_close_masked(out, code, reason, keys.draw()),
                });
                self.close_queued = true;
                self.held_pong = None;
            }
        }
        self.submit_queued();
        Ok(())
    }

    fn append(&mut self, append: impl FnOnce(Role, &mut Vec<u8>, &mut Keys)) {
        debug_assert!(self.fault.is_none() && !self.close_queued);
        let len_before = self.queued.len();
        append(self.role, &mut self.queued, &mut self.keys);
        self.queued_end += (self.queued.len() - len_before) as u64;
    }

    /// Where the queue ends now, for [`poll_written`](Self::poll_written).
    pub(super) fn end(&self) -> u64 {
        self.queued_end
    }

    /// Waits until the kernel has taken everything up to `end`. Whatever else is queued is sent on
    /// the way.
    ///
    /// # Errors
    /// The socket failed, or an earlier write timed out.
    pub(super) fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        end: u64,
    ) -> Poll<Result<(), Error>> {
        loop {
            if let Some(fault) = &self.fault {
                return Poll::Ready(Err(fault.clone()));
            }
            self.submit_queued();
            if self.written >= end {
                return Poll::Ready(Ok(()));
            }
            self.wakers.register(cx.waker());
            let write = self.in_flight.as_mut().expect("what is not written is in flight");
            let mut context = Context::from_waker(&self.waker);
            match Pin::new(write).poll(&mut context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready((result, buffer)) => self.finish_write(result, buffer),
            }
        }
    }

    /// Sends everything that is queued, as far as it goes without waiting, and has the task of
    /// `cx` woken when it goes on. A fault is found by those who write.
    pub(super) fn poll_progress(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_written(cx, self.queued_end);
    }

    /// Ends sending: nothing that is not on its way will be sent. The first fault counts.
    pub(super) fn fail(&mut self, fault: Error) {
        if self.fault.is_none() {
            self.fault = Some(fault);
            self.queued = Vec::new();
            self.held_pong = None;
            self.waker.wake_by_ref();
        }
    }

    /// Tells the peer that nothing more will be sent. Everything queued must have been.
    pub(super) fn shutdown_write(&self) {
        // ENOTCONN: the peer is gone, which reading reports.
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Takes the socket out; `None` if anything is on its way.
    pub(super) fn take_stream(&mut self) -> Option<Rc<TcpStream>> {
        if self.in_flight.is_some() || !self.queued.is_empty() {
            return None;
        }
        self.stream.take()
    }

    /// The socket.
    pub(super) fn stream(&self) -> &TcpStream {
        self.stream.as_deref().expect("it is taken out only when the connection is given up")
    }

    /// Begins a write of all that is queued, unless one is in flight. It will be sent as far as the
    /// kernel has room for it even if nobody waits.
    pub(super) fn submit_queued(&mut self) {
        if self.in_flight.is_some() || self.queued.is_empty() {
            return;
        }
        let buffer = std::mem::replace(&mut self.queued, std::mem::take(&mut self.spare));
        // None is held once a Close is queued.
        if let Some(pong) = self.held_pong.take() {
            self.queue(true, Opcode::Pong, &pong);
        }
        self.submit(buffer.slice_full());
    }

    fn submit(&mut self, buffer: Buffer) {
        self.in_flight = Some(self.stream().write(buffer).submit());
    }

    /// Goes on with the rest if the kernel took a part.
    fn finish_write(&mut self, result: io::Result<usize>, buffer: Buffer) {
        self.in_flight = None;
        let written_len = match result {
            Ok(0) => return self.fail(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(written_len) => written_len,
            Err(error) => return self.fail(error.into()),
        };
        self.written += written_len as u64;
        if written_len < buffer.bytes_init() {
            return self.submit(buffer.slice(written_len..));
        }
        let mut buffer = buffer.into_inner();
        if buffer.capacity() <= limits::CONN_BUFFER_KEPT_MAX {
            buffer.clear();
            self.spare = buffer;
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            // A read in flight keeps the socket open; this ends it. ENOTCONN: it has ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
