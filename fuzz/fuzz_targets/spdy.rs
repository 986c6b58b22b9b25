//! See `kubewire_fuzz::spdy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::spdy::run(data));
