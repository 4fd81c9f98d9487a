//! Registration on the wire (RFC 7591, RFC 7592): reading metadata that others wrote, recognising the same
//! registration when it comes again, and the answer.

use serde_json::{Map, Value, json};

use super::client::Metadata;
use super::redirect::without_loopback_port;
use super::refusal::{Code, Refusal};
use super::secret::{Secret, fingerprint};

/// Largest metadata that are kept, in bytes: as large as a document may be.
const LARGEST: usize = 16 * 1024;

/// A body that must be a JSON object (RFC 7591 §3.1).
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid("the body must be a JSON object")),
        Err(error) => Err(invalid(format!("the body is not JSON: {error}"))),
    }
}

/// The metadata in a JSON object. Unknown members are ignored, `null` counts as absent (RFC 7592 §2.2), and a member of
/// the wrong type is named. What only the operator may say is left out.
pub fn metadata(mut object: Map<String, Value>) -> Result<Metadata, Refusal> {
    object.retain(|_, value| !value.is_null());
    for ours in ["require_pkce", "default_resource", "token_exchange"] {
        object.remove(ours);
    }
    let read = |object: Map<String, Value>| serde_json::from_value(Value::Object(object));
    let known: Metadata = read(object.clone()).map_err(|error: serde_json::Error| {
        let culprit = object.into_iter().find_map(|(name, value)| {
            let alone = read(Map::from_iter([(name.clone(), value)]));
            alone.err().map(|error: serde_json::Error| (name, error))
        });
        match culprit {
            Some((name, error)) => invalid(format!("{name}: {error}")),
            None => invalid(error.to_string()),
        }
    })?;
    if json!(known).to_string().len() > LARGEST {
        return Err(invalid(format!(
            "the metadata are larger than {} KiB",
            LARGEST / 1024
        )));
    }
    Ok(known)
}

/// What makes two registrations the same: everything that was accepted, but for the ports of loopback redirects, which
/// native apps choose anew at every start, and the order of the redirects (rule A-62).
#[must_use]
pub fn likeness(metadata: &Metadata) -> String {
    let mut alike = metadata.clone();
    for uri in &mut alike.redirect_uris {
        *uri = without_loopback_port(uri);
    }
    alike.redirect_uris.sort();
    alike.redirect_uris.dedup();
    fingerprint(&json!(alike).to_string())
}

/// How a registration is managed (RFC 7592 §3).
#[derive(Clone, Copy)]
pub struct Management<'a> {
    /// `registration_client_uri`
    pub uri: &'a str,
    /// `registration_access_token`
    pub token: &'a Secret,
}

/// What a registered client is told (RFC 7591 §3.2.1, RFC 7592 §3).
pub struct Information<'a> {
    /// `client_id`
    pub client_id: &'a str,
    /// Unix seconds.
    pub issued_at: i64,
    /// The metadata in force.
    pub metadata: &'a Metadata,
    /// A secret that was just made; nobody can show an older one.
    pub secret: Option<&'a Secret>,
    /// Absent when several installations share the registration.
    pub management: Option<Management<'a>>,
}

impl Information<'_> {
    /// The JSON answer.
    #[must_use]
    pub fn answer(&self) -> Value {
        let mut answer = json!(self.metadata);
        answer["client_id"] = json!(self.client_id);
        answer["client_id_issued_at"] = json!(self.issued_at);
        if let Some(secret) = self.secret {
            answer["client_secret"] = json!(secret.reveal());
            answer["client_secret_expires_at"] = json!(0);
        }
        if let Some(Management { uri, token }) = self.management {
            answer["registration_client_uri"] = json!(uri);
            answer["registration_access_token"] = json!(token.reveal());
        }
        answer
    }
}

/// Checks the members of an update that are not metadata (RFC 7592 §2.2): `client_id` must be its own, and the members
/// that only we may set must be absent. Clients send back what they were answered, so a repeated value passes and
/// only another one is refused. `is_secret` compares with the secret that the client has.
pub fn check_update(
    object: &Map<String, Value>,
    client_id: &str,
    issued_at: i64,
    management: Management<'_>,
    is_secret: impl FnOnce(&Secret) -> bool,
) -> Result<(), Refusal> {
    let text = |name| object.get(name).and_then(Value::as_str);
    if text("client_id") != Some(client_id) {
        return Err(invalid("client_id must be the one of this registration"));
    }
    let token = |token: &str| {
        Secret::presented(token)
            .digest()
            .is(&management.token.digest())
    };
    let repeats = |name: &str, value: &Value| match name {
        "registration_client_uri" => value == management.uri,
        "registration_access_token" => value.as_str().is_some_and(token),
        "client_id_issued_at" => *value == json!(issued_at),
        "client_secret_expires_at" => *value == json!(0),
        _ => true,
    };
    if let Some((name, _)) = object
        .iter()
        .find(|(name, value)| !value.is_null() && !repeats(name, value))
    {
        return Err(invalid(format!(
            "{name} is set by the server; leave it out"
        )));
    }
    match object.get("client_secret") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(secret)) if is_secret(&Secret::presented(secret)) => Ok(()),
        Some(_) => Err(invalid(
            "client_secret must be the current one; leave it out to keep it",
        )),
    }
}

fn invalid(description: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidClientMetadata, description)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::secret::Kind;
    use proptest::prelude::*;

    fn read(value: Value) -> Result<Metadata, Refusal> {
        metadata(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named() {
        for (bad, name) in [
            (
                json!({"client_name": "C", "redirect_uris": "https://c.example/cb"}),
                "redirect_uris",
            ),
            (
                json!({"redirect_uris": ["https://c.example/cb"], "client_name": 7}),
                "client_name",
            ),
            (json!({"redirect_uris": [7]}), "redirect_uris"),
            (json!({"grant_types": {"a": 1}}), "grant_types"),
            (json!({"scope": ["a", "b"]}), "scope"),
            (json!({"default_max_age": "soon"}), "default_max_age"),
        ] {
            let refusal = read(bad).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidClientMetadata);
            assert!(
                refusal.description.starts_with(&format!("{name}: ")),
                "{}",
                refusal.description
            );
        }
    }

    #[test]
    fn null_is_absent_unknown_members_are_ignored_and_the_operators_words_are_left_out() {
        let read = read(json!({"redirect_uris": null, "client_name": null, "contacts": null, "software_statement": 1,
            "x": {"y": 1}, "require_pkce": false, "default_resource": "https://r"}))
        .unwrap();
        assert_eq!(read, Metadata::default());
    }

    #[test]
    fn metadata_are_as_large_as_a_document_at_most() {
        let keys = vec![json!({"kty": "oct"}); 2000];
        let refusal = read(json!({"jwks": {"keys": keys}})).unwrap_err();
        assert!(
            refusal.description.contains("16 KiB"),
            "{}",
            refusal.description
        );
        assert!(read(json!({"x": "y".repeat(20_000)})).is_ok());
    }

    #[test]
    fn only_objects_are_registrations() {
        assert!(object(b"{}").is_ok());
        for bad in ["", "[]", "7", "null", "{", "{}{}"] {
            assert!(object(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_registrations_are_alike_when_only_loopback_ports_or_the_order_differ() {
        let of = |uris: &[&str], name: &str| {
            likeness(&read(json!({"redirect_uris": uris, "client_name": name})).unwrap())
        };
        let first = of(&["http://localhost:3334/cb", "https://c.example/cb"], "C");
        assert_eq!(
            first,
            of(&["https://c.example/cb", "http://localhost:61234/cb"], "C")
        );
        assert_eq!(
            first,
            of(&["http://localhost/cb", "https://c.example/cb"], "C")
        );
        for other in [
            of(&["http://localhost:3334/cb", "https://c.example/cb"], "D"),
            of(&["http://127.0.0.1:3334/cb", "https://c.example/cb"], "C"),
            of(
                &["http://localhost:3334/other", "https://c.example/cb"],
                "C",
            ),
            of(&["http://localhost:3334/cb", "https://c.example:1/cb"], "C"),
            of(&["http://localhost:3334/cb"], "C"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn an_update_may_repeat_what_it_was_answered_but_set_nothing() {
        let token = Secret::mint(Kind::Registration, [1; 32]);
        let secret = Secret::mint(Kind::Client, [2; 32]);
        let management = Management {
            uri: "https://as/register/dc_1",
            token: &token,
        };
        let check = |changes: &[(&str, Value)]| {
            let mut object = Map::from_iter([("client_id".to_owned(), json!("dc_1"))]);
            object.extend(
                changes
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone())),
            );
            check_update(&object, "dc_1", 7, management, |given| {
                given.digest().is(&secret.digest())
            })
        };
        let answered = [
            ("registration_client_uri", json!(management.uri)),
            ("registration_access_token", json!(token.reveal())),
            ("client_id_issued_at", json!(7)),
            ("client_secret", json!(secret.reveal())),
            ("client_secret_expires_at", json!(0)),
        ];
        assert!(check(&[]).is_ok());
        assert!(check(&answered).is_ok());
        for (name, other) in [
            ("client_id", json!("dc_2")),
            ("client_id", Value::Null),
            ("registration_client_uri", json!("https://as/register/dc_2")),
            ("registration_access_token", json!("ra_x")),
            ("client_id_issued_at", json!(8)),
            ("client_secret", json!("chosen")),
            ("client_secret", json!(1)),
            ("client_secret_expires_at", json!(9)),
        ] {
            let refusal = check(&[(name, other)]).unwrap_err();
            assert!(
                refusal.description.starts_with(name),
                "{}",
                refusal.description
            );
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_reader(body in "\\PC{0,60}") {
            let _ = object(body.as_bytes()).and_then(metadata);
        }
    }
}
