//! See `kubewire_fuzz::list_items`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::list_items::run(data));
