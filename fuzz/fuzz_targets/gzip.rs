//! See `kubewire_fuzz::gzip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::gzip::run(data));
