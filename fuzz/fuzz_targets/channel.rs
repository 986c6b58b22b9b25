//! See `kubewire_fuzz::channel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::channel::run(data));
