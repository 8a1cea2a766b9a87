//! What is checked stands at `tidegate::fuzzing::frame_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::frame_header(data));
