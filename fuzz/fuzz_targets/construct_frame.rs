#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moongate_server::fuzzing::read("construct_frame", bytes);
});
