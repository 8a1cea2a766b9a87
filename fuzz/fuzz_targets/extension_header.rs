//! What is checked stands at `tidegate::fuzzing::extension_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::extension_header(data));
