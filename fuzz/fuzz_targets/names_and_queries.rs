//! See `kubewire_fuzz::names_and_queries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::names_and_queries::run(data));
