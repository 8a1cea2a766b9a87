//! What is checked stands at `tidegate::fuzzing::server_session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::server_session(data));
