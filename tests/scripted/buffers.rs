//! The scripted kernel's receive buffers, poisoned whenever they are not the shard's.

use tidegate::ring::Lease;

/// What lies in memory that nobody may read. No test sends it.
pub(crate) const POISON: u8 = 0xDD;

/// Receive buffers and who holds each.
pub(crate) struct ScriptedBuffers {
    buffers: Vec<Vec<u8>>,
    holders: Vec<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// The kernel may fill it.
    Kernel,
    /// Filled, its completion not taken yet.
    Completion,
    /// The shard's, until it is released.
    Shard,
}

impl ScriptedBuffers {
    pub(crate) fn new(count: u16, size: usize) -> Self {
        let count = usize::from(count);
        Self { buffers: vec![vec![POISON; size]; count], holders: vec![Holder::Kernel; count] }
    }

    pub(crate) fn count(&self) -> usize {
        self.buffers.len()
    }

    pub(crate) fn free_count(&self) -> usize {
        self.holders.iter().filter(|holder| **holder == Holder::Kernel).count()
    }

    /// The kernel receives `bytes`.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> Lease {
        let free = self.holders.iter().position(|holder| *holder == Holder::Kernel);
        let index = free.expect("script: no buffer is free");
        assert!(bytes.len() <= self.buffers[index].len(), "script: larger than a buffer");
        self.buffers[index][..bytes.len()].copy_from_slice(bytes);
        self.holders[index] = Holder::Completion;
        let filled_len = u32::try_from(bytes.len()).expect("buffers are small");
        Lease::new(u16::try_from(index).expect("buffers are few"), filled_len)
    }

    /// The completion that carries the lease goes to the shard.
    pub(crate) fn lend(&mut self, lease: &Lease) {
        self.pass(lease, Holder::Completion, Holder::Shard);
    }

    pub(crate) fn filled(&mut self, lease: &Lease) -> &mut [u8] {
        let index = usize::from(lease.buffer_index());
        assert_eq!(
            self.holders[index],
            Holder::Shard,
            "contract: a buffer the shard does not hold"
        );
        &mut self.buffers[index][..lease.filled_len()]
    }

    pub(crate) fn release(&mut self, lease: &Lease) {
        self.pass(lease, Holder::Shard, Holder::Kernel);
        self.buffers[usize::from(lease.buffer_index())].fill(POISON);
    }

    pub(crate) fn assert_none_lent(&self) {
        let kept = self.holders.iter().filter(|holder| **holder == Holder::Shard).count();
        assert_eq!(kept, 0, "contract: buffers kept beyond the turn");
    }

    fn pass(&mut self, lease: &Lease, from: Holder, to: Holder) {
        let holder = &mut self.holders[usize::from(lease.buffer_index())];
        assert_eq!(*holder, from, "contract: buffer {} changes hands", lease.buffer_index());
        *holder = to;
    }
}
