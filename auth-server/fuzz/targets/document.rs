//! Client ids that are URLs, a line, and the documents behind them.
#![no_main]

#[path = "../checks/document.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &str| check::check(input));
