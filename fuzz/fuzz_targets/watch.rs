//! See `kubewire_fuzz::watch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::watch::run(data));
