//! Masking keys a peer's scripts cannot guess (RFC 6455 sections 5.3 and 10.3).

/// Draws from the kernel's generator, many keys at a time: one system call for 64 frames.
pub(super) struct Keys {
    drawn: [[u8; 4]; DRAWN_COUNT],
    used: usize,
}

impl Keys {
    /// Draws nothing before the first key is wanted.
    pub(super) fn new() -> Self {
        Self { drawn: [[0; 4]; DRAWN_COUNT], used: DRAWN_COUNT }
    }

    /// A key that was never used.
    pub(super) fn draw(&mut self) -> [u8; 4] {
        if self.used == DRAWN_COUNT {
            getrandom::fill(self.drawn.as_flattened_mut())
                .expect("Linux has a random generator that does not fail once it is up");
            self.used = 0;
        }
        self.used += 1;
        std::mem::take(&mut self.drawn[self.used - 1])
    }
}

/// Keys per system call.
const DRAWN_COUNT: usize = 64;
