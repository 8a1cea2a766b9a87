//! stub
/// XORs `buf` with the key, starting at byte `phase` of the key; returns the phase after it.
pub fn apply(_buf: &mut [u8], _key: [u8; 4], _phase: usize) -> usize {
    todo!()
}
