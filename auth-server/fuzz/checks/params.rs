//! Forms, JSON bodies and what is written back: the same parameters, in the same order.

use auth_server::protocol::feature::Features;
use auth_server::protocol::params::Params;
use auth_server::protocol::token::TokenRequest;

pub(crate) fn check(input: &[u8]) {
    for read in [Params::from_form(input), Params::from_json(input)] {
        let Ok(params) = read else { continue };
        let again = params.to_query();
        let Ok(read) = Params::from_form(again.as_bytes()) else {
            panic!("what we write is not read: {again}")
        };
        assert_eq!(read.to_query(), again);
        let _ = TokenRequest::parse(&params, Features::default());
    }
}
