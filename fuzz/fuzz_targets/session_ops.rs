//! See `kubewire_fuzz::session_ops`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::session_ops::run(data));
