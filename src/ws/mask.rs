//! Masking: XOR with a key of four bytes, repeated (RFC 6455 section 5.3).
//!
//! The one SIMD file. The arithmetic is safe code written once, in steps of 32 bytes that the
//! compiler makes into vector operations; it is compiled twice, for every x86-64 and for AVX2, and
//! the processor decides at run time. Calling the second form is the only unsafe operation.

/// XORs `buf` with the key, starting at byte `phase` of the key; returns the phase after it.
///
/// Masking and unmasking are the same operation. A payload that comes in pieces gives each piece
/// the phase the one before it returned.
#[inline]
pub fn apply(buf: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    let mut turned = key;
    turned.rotate_left(phase % key.len());
    if buf.len() < STEP {
        apply_rest(buf, &repeat(turned));
    } else {
        apply_wide(buf, turned);
    }
    (phase + buf.len()) % key.len()
}

/// [`apply`] byte by byte: what tests and the benchmark compare it with.
pub fn apply_bytewise(buf: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    for (index, byte) in buf.iter_mut().enumerate() {
        *byte ^= key[(phase + index) % key.len()];
    }
    (phase + buf.len()) % key.len()
}

#[cfg(target_arch = "x86_64")]
fn apply_wide(buf: &mut [u8], key: [u8; 4]) {
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks of its caller. Its
        // body is safe code over a slice it borrows exclusively, and keeps nothing afterwards.
        unsafe { apply_avx2(buf, key) }
    } else {
        apply_portable(buf, key);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn apply_wide(buf: &mut [u8], key: [u8; 4]) {
    apply_portable(buf, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2(buf: &mut [u8], key: [u8; 4]) {
    apply_steps(buf, key);
}

/// The same for processors without AVX2: 16 bytes at a time on x86-64.
fn apply_portable(buf: &mut [u8], key: [u8; 4]) {
    apply_steps(buf, key);
}

/// Inlined always, so that each caller compiles it for its own instruction set.
#[inline(always)]
fn apply_steps(buf: &mut [u8], key: [u8; 4]) {
    let wide = repeat(key);
    let (steps, rest) = buf.as_chunks_mut::<STEP>();
    for step in steps {
        for (byte, key) in step.iter_mut().zip(&wide) {
            *byte ^= key;
        }
    }
    apply_rest(rest, &wide);
}

/// Fewer bytes than a step: three words and seven bytes at most.
#[inline(always)]
fn apply_rest(buf: &mut [u8], wide: &[u8; STEP]) {
    debug_assert!(buf.len() < STEP);
    let (words, rest) = buf.as_chunks_mut::<8>();
    for word in words {
        for (byte, key) in word.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

#[inline(always)]
fn repeat(key: [u8; 4]) -> [u8; STEP] {
    std::array::from_fn(|index| key[index % key.len()])
}

/// Bytes XORed at a time: one AVX2 register.
const STEP: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    type Apply = fn(&mut [u8], [u8; 4], usize) -> usize;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    fn portable(buf: &mut [u8], key: [u8; 4], phase: usize) -> usize {
        let mut turned = key;
        turned.rotate_left(phase % 4);
        apply_portable(buf, turned);
        (phase + buf.len()) % 4
    }

    #[test]
    fn equals_its_bytewise_twin_at_all_sizes_alignments_and_phases() {
        let sizes = (0..=200).chain([1023, 1024, 1025, 4096, 65_535, 65_536]);
        let forms: [Apply; 2] = [apply, portable];
        for size in sizes {
            let source: Vec<u8> = (0..size + 64).map(|i| (i * 7 + i / 251) as u8).collect();
            let alignments = if size > 200 { 0..3 } else { 0..33 };
            for alignment in alignments {
                for phase in 0..5 {
                    let mut expected = source.clone();
                    let twin = &mut expected[alignment..alignment + size];
                    let phase_after = apply_bytewise(twin, KEY, phase);
                    for form in forms {
                        let mut actual = source.clone();
                        let buf = &mut actual[alignment..alignment + size];
                        assert_eq!(form(buf, KEY, phase), phase_after);
                        assert!(
                            actual == expected,
                            "size {size} alignment {alignment} phase {phase}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn pieces_equal_the_whole_at_every_cut() {
        let source: Vec<u8> = (0..150).collect();
        let mut whole = source.clone();
        apply(&mut whole, KEY, 0);
        for cut in 0..=source.len() {
            let mut pieces = source.clone();
            let (left, right) = pieces.split_at_mut(cut);
            let phase = apply(left, KEY, 0);
            apply(right, KEY, phase);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn twice_is_nothing() {
        let source = *b"masking and unmasking are the same operation";
        let mut twice = source;
        apply(&mut twice, KEY, 1);
        assert_ne!(twice, source);
        apply(&mut twice, KEY, 1);
        assert_eq!(twice, source);
    }
}
