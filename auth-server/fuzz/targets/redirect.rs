//! A registered redirect URI and a requested one, a line each: what matches is the registered text but for a loopback port.
#![no_main]

#[path = "../checks/redirect.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
