//! A table that grows without moving what it holds.
//!
//! A vector that doubles copies everything, holds both copies meanwhile, and has up to half of its
//! room for nobody; with a hundred thousand connections that is megabytes. A leaf: tables by slot
//! are the shard's and its driver's, which do not know each other's.

/// Entries in chunks of [`CHUNK_LEN`], by index. Those of a chunk that is new are `T::default()`.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Box<[T]>>,
}

impl<T: Default> Chunks<T> {
    /// Adds one chunk.
    pub(crate) fn grow(&mut self) {
        self.chunks.push((0..CHUNK_LEN).map(|_| T::default()).collect());
    }

    /// The entry at `index`; `None` beyond the last chunk.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.chunks.get_mut(index / CHUNK_LEN)?.get_mut(index % CHUNK_LEN)
    }

    /// All entries, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }

    /// Entries of all chunks.
    pub(crate) fn len(&self) -> usize {
        self.chunks.len() * CHUNK_LEN
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

/// Entries of a chunk: so many that what the allocator leaves unused between two chunks does not
/// matter, and so few that the last chunk's unused ones do not either.
pub(crate) const CHUNK_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_where_they_are() {
        let mut chunks = Chunks::<usize>::default();
        assert!(chunks.get_mut(0).is_none());
        chunks.grow();
        let first: *const usize = chunks.get_mut(0).expect("the first chunk");
        for count in 2..100 {
            chunks.grow();
            assert_eq!(chunks.len(), count * CHUNK_LEN);
        }
        for index in 0..chunks.len() {
            *chunks.get_mut(index).expect("below the length") = index;
        }
        assert!((0..chunks.len()).all(|index| chunks.get_mut(index) == Some(&mut { index })));
        assert!(chunks.get_mut(chunks.len()).is_none());
        assert!(std::ptr::eq(first, chunks.get_mut(0).expect("the first chunk")));
    }
}
