//! The claims of request objects.
#![no_main]

#[path = "../checks/request_object.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
