//! One TCP connection between a client and a shard's socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// What lies between the two ends. Up is towards the gateway.
pub(crate) struct Link {
    up: RefCell<VecDeque<u8>>,
    down: RefCell<VecDeque<u8>>,
    /// Bytes the way down holds before a send is stuck.
    window: usize,
    /// The client sends nothing more.
    pub(crate) up_ended: Cell<bool>,
    /// The gateway sends nothing more.
    pub(crate) down_ended: Cell<bool>,
    /// The client has reset the connection, or its machine is gone.
    pub(crate) reset: Cell<bool>,
    /// The gateway has closed its socket.
    pub(crate) closed: Cell<bool>,
    /// Something happened after which the end of the connection needs no Close: its client reset
    /// it, a send failed, or the gateway reset it.
    pub(crate) excused: Cell<bool>,
}

impl Link {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            up: RefCell::default(),
            down: RefCell::default(),
            window,
            up_ended: Cell::new(false),
            down_ended: Cell::new(false),
            reset: Cell::new(false),
            closed: Cell::new(false),
            excused: Cell::new(false),
        }
    }

    /// The client sends.
    pub(crate) fn send_up(&self, bytes: &[u8]) {
        if !self.reset.get() && !self.up_ended.get() {
            self.up.borrow_mut().extend(bytes);
        }
    }

    /// The client goes without a word.
    pub(crate) fn reset(&self) {
        self.reset.set(true);
        self.excused.set(true);
        self.up.borrow_mut().clear();
        self.down.borrow_mut().clear();
    }

    /// Bytes that wait for the gateway.
    pub(crate) fn up_len(&self) -> usize {
        self.up.borrow().len()
    }

    /// The gateway receives.
    pub(crate) fn take_up(&self, len: usize) -> Vec<u8> {
        self.up.borrow_mut().drain(..len).collect()
    }

    /// How much the gateway can send.
    pub(crate) fn room_down(&self) -> usize {
        self.window.saturating_sub(self.down.borrow().len())
    }

    /// The gateway sends.
    pub(crate) fn send_down(&self, bytes: &[u8]) {
        assert!(!self.down_ended.get(), "sent after the write side was shut");
        if !self.reset.get() {
            self.down.borrow_mut().extend(bytes);
        }
    }

    /// Bytes that wait for the client.
    pub(crate) fn down_len(&self) -> usize {
        self.down.borrow().len()
    }

    /// The client receives.
    pub(crate) fn take_down(&self, len: usize) -> Vec<u8> {
        self.down.borrow_mut().drain(..len).collect()
    }

    /// The gateway closes its socket. Bytes it has not read turn that into a reset, which may take
    /// away what the client has not read either.
    pub(crate) fn close(&self, is_reset: bool, loses: bool) {
        self.closed.set(true);
        self.down_ended.set(true);
        if is_reset || self.up_len() > 0 {
            self.excused.set(true);
            if loses {
                self.down.borrow_mut().clear();
            }
        }
    }
}
