//! Scopes: reading what we wrote changes nothing, and no operation widens.

use auth_server::protocol::scope::{Scope, is_token};

pub(crate) fn check(input: &str) {
    let (one, other) = input.split_once('\n').unwrap_or((input, ""));
    let (one, other) = (Scope::parse(one), Scope::parse(other));
    assert!(Scope::parse(&one.to_string()) == one);
    assert!(one.iter().all(is_token));
    let both = one.intersect(&other);
    assert!(both.within(&one) && both.within(&other));
    assert!(one.within(&one.union(&other)));
    assert!(one.minus(&other).intersect(&other).is_empty());
}
