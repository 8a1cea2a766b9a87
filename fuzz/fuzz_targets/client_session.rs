//! What is checked stands at `tidegate::fuzzing::client_session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::client_session(data));
