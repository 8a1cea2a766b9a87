//! What is checked stands at `tidegate::fuzzing::centrifuge_commands`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate::fuzzing::centrifuge_commands(data));
