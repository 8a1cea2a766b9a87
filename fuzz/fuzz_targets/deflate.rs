//! What is checked stands at `tidegate::fuzzing::deflate`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::deflate(data));
