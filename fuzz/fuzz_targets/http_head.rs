//! What is checked stands at `tidegate::fuzzing::http_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::http_head(data));
