//! An ordered set of scope tokens (RFC 6749 §3.3). The order of the request is kept for people, equality ignores it.

use std::fmt;

/// The OpenID Connect scopes (OIDC Core §5.4, §11).
pub const OPENID: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
];

/// Most tokens of one set: a bound for the work of comparing sets.
pub const MOST: usize = 200;

/// A set of scope tokens in the order in which they were first named.
#[derive(Clone, Debug, Default)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Reads a space-separated list of at most [`MOST`] tokens; more of them and tokens with characters outside RFC 6749 §3.3 are dropped, as unknown ones are.
    #[must_use]
    pub fn parse(text: &str) -> Scope {
        text.split(' ')
            .filter(|token| is_token(token))
            .take(MOST)
            .collect()
    }

    /// True when `token` is in the set.
    #[must_use]
    pub fn has(&self, token: &str) -> bool {
        self.0.iter().any(|held| held == token)
    }

    /// True when the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True when every token is also in `other`.
    #[must_use]
    pub fn within(&self, other: &Scope) -> bool {
        self.iter().all(|token| other.has(token))
    }

    /// The tokens that are also in `other`.
    #[must_use]
    pub fn intersect(&self, other: &Scope) -> Scope {
        self.iter().filter(|token| other.has(token)).collect()
    }

    /// The tokens that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Scope) -> Scope {
        self.iter().filter(|token| !other.has(token)).collect()
    }

    /// Both sets, ours first.
    #[must_use]
    pub fn union(&self, other: &Scope) -> Scope {
        self.iter().chain(other.iter()).collect()
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

impl PartialEq for Scope {
    fn eq(&self, other: &Scope) -> bool {
        self.within(other) && other.within(self)
    }
}

impl Eq for Scope {}

impl<'a> FromIterator<&'a str> for Scope {
    fn from_iter<I: IntoIterator<Item = &'a str>>(tokens: I) -> Scope {
        let mut scope = Scope::default();
        for token in tokens {
            if !scope.has(token) {
                scope.0.push(token.to_owned());
            }
        }
        scope
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
        Ok(Scope::parse(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parsing_keeps_order_and_drops_repeats_and_bad_tokens() {
        assert_eq!(Scope::parse("b a  b \"x\" ä").to_string(), "b a");
        assert!(Scope::parse("").is_empty());
    }

    #[test]
    fn sets_compare_without_order() {
        assert_eq!(Scope::parse("a b"), Scope::parse("b a"));
        assert!(Scope::parse("a").within(&Scope::parse("b a")));
        assert_eq!(
            Scope::parse("a b c").minus(&Scope::parse("b")).to_string(),
            "a c"
        );
        assert_eq!(
            Scope::parse("a").union(&Scope::parse("b a")).to_string(),
            "a b"
        );
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(text in ".{0,80}", other in ".{0,80}") {
            let (scope, other) = (Scope::parse(&text), Scope::parse(&other));
            prop_assert_eq!(Scope::parse(&scope.to_string()), scope.clone());
            prop_assert!(scope.intersect(&other).within(&scope));
            prop_assert!(scope.within(&scope.union(&other)));
            prop_assert_eq!(scope.minus(&other).union(&scope.intersect(&other)), scope);
        }
    }
}
