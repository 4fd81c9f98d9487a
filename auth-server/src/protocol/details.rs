//! Rich authorization requests (RFC 9396): `authorization_details`, objects of types that the operator knows, shown to the
//! user member by member and carried into tokens as they were asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::Client;
use super::refusal::{Code, Refusal};
use super::text::deceives;

/// Longest parameter, in bytes.
const LONGEST: usize = 4096;
/// Most objects of one request.
const MOST: usize = 16;
/// Deepest nesting within an object: what a person can be shown.
const DEEPEST: usize = 4;
/// The common members that are lists of text (RFC 9396 §2.2).
const LISTS: [&str; 4] = ["locations", "actions", "datatypes", "privileges"];

/// A type of authorization details (RFC 9396 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailType {
    /// `type`
    pub name: String,
    /// For people, as a sentence: "Make a payment".
    pub description: String,
}

/// What is asked for: objects with a known `type`.
pub type Details = Vec<Map<String, Value>>;

/// Reads the parameter, of a request of this client. Unknown types, and known ones with members of the wrong kind, are
/// refused (RFC 9396 §5).
pub fn parse(
    text: Option<&str>,
    types: &[DetailType],
    client: &Client,
) -> Result<Details, Refusal> {
    let Some(text) = text else {
        return Ok(Details::new());
    };
    if text.len() > LONGEST {
        return Err(invalid(format!("longer than {LONGEST} bytes")));
    }
    let details: Details = serde_json::from_str(text)
        .map_err(|_| invalid("not a list of JSON objects (RFC 9396 2)"))?;
    if details.is_empty() || details.len() > MOST {
        return Err(invalid(format!("1 to {MOST} objects are allowed")));
    }
    for detail in &details {
        check(detail, types, client)?;
    }
    Ok(details)
}

/// Reads the parameter of a client that asks for itself. Nobody is asked, so the operator must have named the types.
pub fn for_machine(
    text: Option<&str>,
    types: &[DetailType],
    client: &Client,
) -> Result<Details, Refusal> {
    let details = parse(text, types, client)?;
    if !details.is_empty() && client.metadata.authorization_details_types.is_none() {
        return Err(invalid("this client may not use that type by itself")
            .setting("clients.authorization_details_types"));
    }
    Ok(details)
}

fn check(
    detail: &Map<String, Value>,
    types: &[DetailType],
    client: &Client,
) -> Result<(), Refusal> {
    let Some(name) = detail.get("type").and_then(Value::as_str) else {
        return Err(invalid("type is missing (RFC 9396 2)"));
    };
    if !types.iter().any(|known| known.name == name) {
        return Err(invalid("this type is unknown").setting("authorization_details"));
    }
    let own = client.metadata.authorization_details_types.as_ref();
    if own.is_some_and(|own| !own.iter().any(|own| own == name)) {
        return Err(invalid("this client may not use that type")
            .setting("clients.authorization_details_types"));
    }
    for list in LISTS {
        let texts = |value: &Value| {
            let items = value.as_array();
            items.is_some_and(|items| items.iter().all(Value::is_string))
        };
        if detail.get(list).is_some_and(|value| !texts(value)) {
            return Err(invalid(format!(
                "{list} must be a list of text (RFC 9396 2.2)"
            )));
        }
    }
    if detail.get("identifier").is_some_and(|id| !id.is_string()) {
        return Err(invalid("identifier must be text (RFC 9396 2.2)"));
    }
    if detail.values().any(|value| depth(value) > DEEPEST) {
        return Err(invalid("nested too deeply"));
    }
    if !members_read_well(detail) {
        return Err(invalid(
            "names and texts must read as they are: no control characters, and no two names that look the same",
        ));
    }
    Ok(())
}

/// True when people read on the page what the object says (RFC 9396 §12).
fn members_read_well(members: &Map<String, Value>) -> bool {
    let mut labels = BTreeSet::new();
    members.iter().all(|(name, value)| {
        !name.chars().any(deceives) && labels.insert(label(name)) && reads_well(value)
    })
}

fn reads_well(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.chars().any(deceives),
        Value::Array(items) => items.iter().all(reads_well),
        Value::Object(members) => members_read_well(members),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Those that a token request asks for, of those that were granted (RFC 9396 §6); all of them when it names none.
pub fn narrow(granted: &Details, requested: Option<&str>) -> Result<Details, Refusal> {
    let Some(text) = requested else {
        return Ok(granted.clone());
    };
    if text.len() > LONGEST {
        return Err(invalid(format!("longer than {LONGEST} bytes")));
    }
    let requested: Details = serde_json::from_str(text)
        .map_err(|_| invalid("not a list of JSON objects (RFC 9396 6)"))?;
    // What was granted once is asked for once.
    let mut left = granted.clone();
    for detail in &requested {
        let Some(at) = left.iter().position(|granted| granted == detail) else {
            return Err(invalid("more was asked for than was granted (RFC 9396 6)"));
        };
        left.swap_remove(at);
    }
    Ok(requested)
}

/// The members of an object for people, without `type`: name and value, values of several lines as JSON.
#[must_use]
pub fn rows(detail: &Map<String, Value>) -> Vec<(String, String)> {
    let members = detail.iter().filter(|(name, _)| *name != "type");
    members
        .map(|(name, value)| (label(name), words(value)))
        .collect()
}

/// A member's name as people write it: `instructedAmount` and `instructed_amount` are both `Instructed amount`.
fn label(name: &str) -> String {
    let mut label = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_small) {
            label.push(' ');
        }
        after_small = letter.is_lowercase();
        if letter != '_' {
            let is_first = label.is_empty();
            let written = if is_first {
                letter.to_uppercase().to_string()
            } else {
                letter.to_lowercase().to_string()
            };
            label.push_str(&written);
        }
    }
    label
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| format!("{}: {}", label(name), words(value)));
            members.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Code::InvalidAuthorizationDetails,
        format!("authorization_details: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::{Metadata, Origin};
    use proptest::prelude::*;
    use serde_json::json;

    fn types() -> Vec<DetailType> {
        vec![DetailType {
            name: "payment_initiation".into(),
            description: "Make a payment".into(),
        }]
    }

    fn client() -> Client {
        let metadata = Metadata {
            redirect_uris: vec!["https://c.example/cb".into()],
            token_endpoint_auth_method: Some("none".into()),
            ..Metadata::default()
        };
        Client::accept(metadata, Origin::Static)
            .unwrap()
            .into_client("c".into(), Origin::Static, None)
            .unwrap()
    }

    /// The payment of RFC 9396 §2.
    fn payment() -> Value {
        json!({
            "type": "payment_initiation", "actions": ["initiate", "status", "cancel"],
            "locations": ["https://example.com/payments"],
            "instructedAmount": {"currency": "EUR", "amount": "123.50"}, "creditorName": "Merchant A",
            "creditorAccount": {"iban": "DE02100100109307118603"},
            "remittanceInformationUnstructured": "Ref Number Merchant",
        })
    }

    fn read(value: &Value) -> Result<Details, Refusal> {
        parse(Some(&value.to_string()), &types(), &client())
    }

    #[test]
    fn the_payment_of_rfc_9396_is_read_and_shown() {
        let details = read(&json!([payment()])).unwrap();
        let rows = rows(&details[0]);
        assert!(rows.contains(&("Actions".into(), "initiate, status, cancel".into())));
        assert!(rows.contains(&(
            "Instructed amount".into(),
            "Currency: EUR; Amount: 123.50".into()
        )));
        assert!(rows.iter().all(|(name, _)| name != "type"));
    }

    #[test]
    fn what_is_unknown_or_malformed_is_refused() {
        for bad in [
            json!({}),
            json!([]),
            json!(["payment_initiation"]),
            json!([{"actions": []}]),
            json!([{"type": "unknown"}]),
            json!([{"type": 1}]),
            json!([{"type": "payment_initiation", "actions": "x"}]),
            json!([{"type": "payment_initiation", "locations": [1]}]),
            json!([{"type": "payment_initiation", "identifier": 1}]),
            json!([{"type": "payment_initiation", "x": [[[[[1]]]]]}]),
            Value::Array(vec![json!({"type": "payment_initiation"}); 17]),
            json!([{"type": "payment_initiation", "x": "y".repeat(5000)}]),
            json!([{"type": "payment_initiation", "x": "Alice\u{202e}01 RUE"}]),
            json!([{"type": "payment_initiation", "x": ["a\nAmount: 1"]}]),
            json!([{"type": "payment_initiation", "x\u{7}": 1}]),
            json!([{"type": "payment_initiation", "Amount": 1, "amount": 1000}]),
            json!([{"type": "payment_initiation", "x": [{"paidTo": 1, "paid_to": 2}]}]),
        ] {
            assert_eq!(
                read(&bad).unwrap_err().code,
                Code::InvalidAuthorizationDetails,
                "{bad}"
            );
        }
        assert!(parse(None, &types(), &client()).unwrap().is_empty());
    }

    #[test]
    fn a_token_gets_at_most_what_was_granted() {
        let granted = read(&json!([payment(), {"type": "payment_initiation"}])).unwrap();
        assert_eq!(narrow(&granted, None).unwrap(), granted);
        let one = json!([{"type": "payment_initiation"}]).to_string();
        assert_eq!(narrow(&granted, Some(&one)).unwrap().len(), 1);
        let more = json!([{"type": "payment_initiation", "actions": ["all"]}]).to_string();
        assert!(narrow(&granted, Some(&more)).is_err());
        assert!(narrow(&granted, Some("x")).is_err());
        let paid = json!([payment()]).to_string();
        let granted = read(&json!([payment()])).unwrap();
        assert_eq!(narrow(&granted, Some(&paid)).unwrap().len(), 1);
        let twice = json!([payment(), payment()]).to_string();
        assert!(
            narrow(&granted, Some(&twice)).is_err(),
            "one payment is no two"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[{]{0,8}.{0,60}[\\]}]{0,8}") {
            let _ = parse(Some(&text), &types(), &client());
            let _ = narrow(&Details::new(), Some(&text));
        }
    }
}
