//! See `kubewire_fuzz::reflector_model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubewire_fuzz::reflector_model::run(data));
