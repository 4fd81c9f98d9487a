//! Forms, JSON bodies and what is written back: the same parameters, in the same order.
#![no_main]

use auth_server::protocol::params::Params;
use auth_server::protocol::token::TokenRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for read in [Params::from_form(input), Params::from_json(input)] {
        let Ok(params) = read else { continue };
        let again = params.to_query();
        let Ok(read) = Params::from_form(again.as_bytes()) else {
            panic!("what we write is not read: {again}")
        };
        assert_eq!(read.to_query(), again);
        let _ = TokenRequest::parse(&params);
    }
});
