//! The one door for request parameters: query, form and JSON bodies all become [`Params`]. Order is kept, an
//! empty value counts as absent (RFC 6749 §3.1), and a parameter that may stand once is refused when repeated.

use super::refusal::{Refusal, invalid_request};

/// Parameters that RFC 8707 §2 (`resource`) and Auth0's clients (`audience`) may send several times.
const REPEATABLE: [&str; 2] = ["resource", "audience"];
/// More parameters than any profile defines; a bound for what we store and search.
const MOST: usize = 64;

/// Request parameters in the order in which they came, without empty values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl std::fmt::Debug for Params {
    /// The names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Params {
    /// Reads `application/x-www-form-urlencoded` text: a query string or a form body.
    pub fn from_form(text: &[u8]) -> Result<Params, Refusal> {
        Params::collect(
            url::form_urlencoded::parse(text).map(|(k, v)| (k.into_owned(), v.into_owned())),
        )
    }

    /// Reads a JSON object whose members are strings, numbers, booleans or arrays of strings.
    pub fn from_json(body: &[u8]) -> Result<Params, Refusal> {
        let object = serde_json::from_slice(body)
            .map_err(|e| invalid_request("the body is not a JSON object").because(e))?;
        Params::from_object(object)
    }

    /// The members of a JSON object, as [`Params::from_json`] reads them.
    pub fn from_object(
        object: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Params, Refusal> {
        let mut pairs = Vec::new();
        for (name, value) in object {
            match value {
                serde_json::Value::Null => {}
                serde_json::Value::Array(items) => {
                    for item in items {
                        pairs.push((name.clone(), json_text(&name, item)?));
                    }
                }
                value => {
                    let text = json_text(&name, value)?;
                    pairs.push((name, text));
                }
            }
        }
        Params::collect(pairs.into_iter())
    }

    fn collect(pairs: impl Iterator<Item = (String, String)>) -> Result<Params, Refusal> {
        let pairs: Vec<_> = pairs
            .filter(|(_, value)| !value.is_empty())
            .take(MOST + 1)
            .collect();
        if pairs.len() > MOST {
            return Err(invalid_request(format!(
                "a request has at most {MOST} parameters"
            )));
        }
        // No parameter of any profile has a use for it, and PostgreSQL does not store it.
        if pairs
            .iter()
            .any(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            return Err(invalid_request("a parameter has a NUL character"));
        }
        Ok(Params(pairs))
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The name of each parameter, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value of `name`, refused when it stands more than once.
    pub fn once(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(repeated(name)),
        }
    }

    /// The value of `name`, which must stand exactly once.
    pub fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.once(name)?
            .ok_or_else(|| invalid_request(format!("{name} is missing")))
    }

    /// Refuses any repeated parameter but `resource` and `audience` (RFC 6749 §3.1, §3.2).
    pub fn refuse_repeats(&self) -> Result<(), Refusal> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !REPEATABLE.contains(&name.as_str())
                && self.0[..at].iter().any(|(earlier, _)| earlier == name)
            {
                return Err(repeated(name));
            }
        }
        Ok(())
    }

    /// The resource indicators: `resource`, else its alias `audience`.
    #[must_use]
    pub fn resources(&self) -> Vec<&str> {
        let resources: Vec<_> = self.all("resource").collect();
        if resources.is_empty() {
            self.all("audience").collect()
        } else {
            resources
        }
    }

    /// Puts one value in the place of all of `name`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(key, _)| key != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Only the parameters with these names.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Params {
        let known = |(name, _): &&(String, String)| names.contains(&name.as_str());
        Params(self.0.iter().filter(known).cloned().collect())
    }

    /// The parameters as a query string.
    #[must_use]
    pub fn to_query(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }
}

fn repeated(name: &str) -> Refusal {
    let name: String = name.chars().take(40).collect();
    invalid_request(format!("{name} stands more than once"))
}

fn json_text(name: &str, value: serde_json::Value) -> Result<String, Refusal> {
    match value {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        serde_json::Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(invalid_request(format!("{name} must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_value_counts_as_absent() {
        let params = Params::from_form(b"scope=&state=x").unwrap();
        assert_eq!(params.get("scope"), None);
        assert_eq!(params.get("state"), Some("x"));
    }

    #[test]
    fn repeats_are_refused_except_for_resource_and_audience() {
        assert!(
            Params::from_form(b"resource=a&resource=b&audience=c&audience=d")
                .unwrap()
                .refuse_repeats()
                .is_ok()
        );
        let twice = Params::from_form(b"state=a&x=1&state=b")
            .unwrap()
            .refuse_repeats()
            .unwrap_err();
        assert_eq!(twice.description, "state stands more than once");
    }

    #[test]
    fn a_json_body_reads_like_a_form() {
        let params =
            Params::from_json(br#"{"grant_type":"x","resource":["a","b"],"n":3,"none":null}"#)
                .unwrap();
        assert_eq!(params.all("resource").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(params.get("n"), Some("3"));
        assert!(Params::from_json(br#"{"a":{}}"#).is_err());
        assert!(Params::from_json(b"[]").is_err());
    }

    #[test]
    fn a_nul_character_is_refused() {
        assert!(Params::from_form(b"client_id=a%00b").is_err());
        assert!(Params::from_json(br#"{"client_id":"a\u0000"}"#).is_err());
    }

    #[test]
    fn too_many_parameters_are_refused() {
        let body = (0..=MOST)
            .map(|n| format!("p{n}=1"))
            .collect::<Vec<_>>()
            .join("&");
        assert!(Params::from_form(body.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Params::from_json(&bytes);
            if let Ok(params) = Params::from_form(&bytes) {
                prop_assert_eq!(Params::from_form(params.to_query().as_bytes()).unwrap(), params);
            }
        }
    }
}
