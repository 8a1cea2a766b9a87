//! What is checked stands at `tidegate::fuzzing::configuration`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::configuration(data));
