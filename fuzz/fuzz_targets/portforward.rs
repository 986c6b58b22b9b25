//! See `kubewire_fuzz::portforward`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::portforward::run(data));
