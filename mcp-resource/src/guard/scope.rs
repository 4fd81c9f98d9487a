//! Scopes as an ordered set, and which scopes include which.
//!
//! RFC 6749 §3.3: a scope string is a space-separated list of case-sensitive tokens. The order in which scopes were
//! written is kept, so that headers and documents are the same on every run.

use std::collections::BTreeMap;
use std::fmt;

/// An ordered set of scope tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Reads a space-separated scope string; repeated tokens count once.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.split_ascii_whitespace().collect()
    }

    /// Whether `scope` is in the set.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|held| held == scope)
    }

    /// Whether every scope of `needed` is in the set.
    #[must_use]
    pub fn covers(&self, needed: &Scopes) -> bool {
        needed.iter().all(|scope| self.contains(scope))
    }

    /// This set, then the scopes of `more` that it lacks.
    #[must_use]
    pub fn union(&self, more: &Scopes) -> Scopes {
        self.iter().chain(more.iter()).collect()
    }

    /// The scopes in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first token that RFC 6749 §3.3 does not allow: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
    pub(crate) fn first_malformed(&self) -> Option<&str> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        self.iter()
            .find(|scope| scope.is_empty() || !scope.bytes().all(allowed))
    }
}

impl<S: Into<String>> FromIterator<S> for Scopes {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        let mut set: Vec<String> = Vec::new();
        for scope in scopes {
            let scope = scope.into();
            if !set.contains(&scope) {
                set.push(scope);
            }
        }
        Self(set)
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for Scopes {
    fn from(scopes: [S; N]) -> Self {
        scopes.into_iter().collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Adds what broader scopes include: with `docs → [docs.read]`, holding `docs` means holding `docs.read` too.
/// Inclusion is transitive; a cycle ends where it started.
pub(super) fn expand(granted: &Scopes, includes: &BTreeMap<String, Vec<String>>) -> Scopes {
    let mut all = granted.0.clone();
    let mut next = 0;
    while let Some(scope) = all.get(next).cloned() {
        for narrower in includes.get(&scope).into_iter().flatten() {
            if !all.contains(narrower) {
                all.push(narrower.clone());
            }
        }
        next += 1;
    }
    Scopes(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_string_keeps_its_order_and_loses_repeats() {
        let scopes = Scopes::parse("  b a  b\tc ");
        assert_eq!(scopes.to_string(), "b a c");
    }

    #[test]
    fn broader_scopes_include_narrower_ones_through_several_steps() {
        let includes = BTreeMap::from([
            ("admin".to_owned(), vec!["write".to_owned()]),
            (
                "write".to_owned(),
                vec!["read".to_owned(), "admin".to_owned()],
            ),
        ]);
        let held = expand(&Scopes::from(["admin"]), &includes);
        assert!(held.covers(&Scopes::from(["read", "write"])));
        assert!(!expand(&Scopes::from(["read"]), &includes).contains("write"));
    }

    #[test]
    fn a_scope_with_a_quote_or_a_space_is_malformed() {
        assert_eq!(Scopes::from(["a", "b\"c"]).first_malformed(), Some("b\"c"));
        assert_eq!(Scopes::from(["a b"]).first_malformed(), Some("a b"));
        assert_eq!(
            Scopes::from(["docs.read", "https://x/y"]).first_malformed(),
            None
        );
    }
}
