//! Levels of authentication (`acr`, OIDC Core §2): names that the operator gives to ways of signing in, so that a client
//! can ask for one (`acr_values`, the claim `acr`) and read which one was reached.

use serde::{Deserialize, Serialize};

use super::claims_request::ClaimsRequest;

/// A level of authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// What clients ask for and tokens say.
    pub name: String,
    /// The methods (RFC 8176) that a sign-in must have used, all of them.
    pub methods: Vec<String>,
}

impl Level {
    /// True when a sign-in with these methods reaches the level.
    #[must_use]
    pub fn reached(&self, amr: &[String]) -> bool {
        self.methods.iter().all(|method| amr.contains(method))
    }
}

/// Which levels a request wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of the request that this server has, the best first.
    pub levels: Vec<Level>,
    /// True when one of them must be reached (OIDC Core §5.5.1.1).
    pub essential: bool,
}

impl Wanted {
    /// Reads the wishes of a request: the claim `acr`, else `acr_values`, else the client's default. `levels` are those
    /// of the configuration.
    #[must_use]
    pub fn of(
        claims: &ClaimsRequest,
        acr_values: Option<&str>,
        default: &[String],
        levels: &[Level],
    ) -> Wanted {
        let (names, essential): (Vec<&str>, bool) = match (claims.acr(), acr_values) {
            (Some((names, essential)), _) if !names.is_empty() => (names, essential),
            (_, Some(text)) => (text.split(' ').collect(), false),
            _ => (default.iter().map(String::as_str).collect(), false),
        };
        let find = |name: &str| levels.iter().find(|level| level.name == name).cloned();
        Wanted {
            levels: names.into_iter().filter_map(find).collect(),
            essential,
        }
    }

    /// True when a sign-in with these methods is good enough.
    #[must_use]
    pub fn allows(&self, amr: &[String]) -> bool {
        !self.essential || self.levels.iter().any(|level| level.reached(amr))
    }

    /// The level to name in tokens: the first wanted one that was reached, else the last of `levels`, which stand in the
    /// order of their strength.
    #[must_use]
    pub fn reached(&self, amr: &[String], levels: &[Level]) -> Option<String> {
        let wanted = self.levels.iter().find(|level| level.reached(amr));
        let reached = wanted.or_else(|| levels.iter().rfind(|level| level.reached(amr)));
        reached.map(|level| level.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels() -> Vec<Level> {
        let level = |name: &str, methods: &[&str]| Level {
            name: name.into(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
        };
        vec![level("1", &["pwd"]), level("2", &["pwd", "otp"])]
    }

    fn wanted(claims: &str, acr_values: Option<&str>) -> Wanted {
        Wanted::of(
            &ClaimsRequest::parse(claims).unwrap(),
            acr_values,
            &["1".into()],
            &levels(),
        )
    }

    #[test]
    fn an_essential_level_must_be_reached_and_others_are_wishes() {
        let (pwd, both) = (["pwd".to_owned()], ["otp".to_owned(), "pwd".to_owned()]);
        let essential = wanted(
            r#"{"id_token":{"acr":{"essential":true,"values":["2"]}}}"#,
            None,
        );
        assert!(!essential.allows(&pwd) && essential.allows(&both));
        let wish = wanted("{}", Some("9 2"));
        assert!(wish.allows(&pwd));
        assert_eq!(wish.reached(&pwd, &levels()).as_deref(), Some("1"));
        assert_eq!(wish.reached(&both, &levels()).as_deref(), Some("2"));
        assert_eq!(
            wanted("{}", None).reached(&both, &levels()).as_deref(),
            Some("1")
        );
        assert_eq!(wish.reached(&[], &levels()), None);
    }

    #[test]
    fn an_essential_level_that_nobody_knows_is_never_reached() {
        let unknown = wanted(
            r#"{"id_token":{"acr":{"essential":true,"value":"9"}}}"#,
            None,
        );
        assert!(unknown.levels.is_empty() && !unknown.allows(&["pwd".to_owned()]));
    }
}
