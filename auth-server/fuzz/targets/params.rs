//! Forms, JSON bodies and what is written back: the same parameters, in the same order.
#![no_main]

#[path = "../checks/params.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
