//! Who a user is to a client (OIDC Core §8): the same id for every client, or one that no two sectors can compare.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::client::{Client, Metadata};
use super::grant::Grant;
use super::refusal::{Code, Refusal};
use super::secret::DerivationKey;

/// `subject_types_supported`
pub const TYPES: [&str; 2] = ["public", "pairwise"];

/// The user's `sub` at a client. A pairwise one is derived from the master key, so it lasts as long as that does.
#[must_use]
pub fn of(key: &DerivationKey, client: &Client, user_id: &str) -> String {
    match sector(&client.metadata) {
        Ok(Some(sector)) => {
            let derived = key.derive("pairwise subject", &format!("{sector} {user_id}"));
            URL_SAFE_NO_PAD.encode(derived)
        }
        Ok(None) | Err(_) => user_id.to_owned(),
    }
}

/// The sector of a client with pairwise subjects (OIDC Core §8.1): the host of its `sector_identifier_uri`, else the one
/// host of its redirect URIs.
pub fn sector(metadata: &Metadata) -> Result<Option<String>, Refusal> {
    match metadata.subject_type.as_deref() {
        None | Some("public") => return Ok(None),
        Some("pairwise") => {}
        Some(_) => return Err(invalid("subject_type must be public or pairwise")),
    }
    if let Some(uri) = &metadata.sector_identifier_uri {
        return Ok(Some(host(uri)?));
    }
    let mut hosts: Vec<String> = Vec::new();
    for uri in &metadata.redirect_uris {
        let host = host(uri)?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    match hosts.as_slice() {
        [one] => Ok(Some(one.clone())),
        _ => Err(invalid(
            "pairwise subjects need sector_identifier_uri when the redirect_uris do not have one host (OIDC Core 8.1)",
        )),
    }
}

/// The host of an https URL.
fn host(uri: &str) -> Result<String, Refusal> {
    let url = Url::parse(uri).ok().filter(|url| url.scheme() == "https");
    let host = url.and_then(|url| url.host_str().map(str::to_owned));
    host.ok_or_else(|| {
        invalid("pairwise subjects need https redirect_uris, or an https sector_identifier_uri")
    })
}

/// True while a user has the name at a client that the grant was given under: a refreshed ID token names nobody else (OIDC
/// Core §12.2), and what was allowed to a client of one sector says nothing about those of another.
#[must_use]
pub fn lasts(client: &Client, grant: &Grant) -> bool {
    client.sector() == grant.terms.sector.as_deref()
}

/// Refuses a client whose redirect URIs are not all in the list behind its `sector_identifier_uri` (OIDC Registration §5). One
/// without redirect URIs shows nothing.
pub fn check_sector(metadata: &Metadata, list: &[u8]) -> Result<(), Refusal> {
    let list: Vec<String> = serde_json::from_slice(list)
        .map_err(|_| invalid("sector_identifier_uri: not a JSON list of URIs"))?;
    let uris = &metadata.redirect_uris;
    if !uris.is_empty() && uris.iter().all(|uri| list.contains(uri)) {
        Ok(())
    } else {
        Err(invalid(
            "sector_identifier_uri: its list must hold the redirect_uris (OIDC Registration 5)",
        ))
    }
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::new(Code::InvalidClientMetadata, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client::Origin;
    use serde_json::{Value, json};

    fn client(more: &Value) -> Result<Client, Refusal> {
        let mut metadata = json!({
            "redirect_uris": ["https://c.example/cb"], "token_endpoint_auth_method": "none", "subject_type": "pairwise",
        });
        for (name, value) in more.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        Client::accept(serde_json::from_value(metadata).unwrap(), Origin::Static)?.into_client(
            "c".into(),
            Origin::Static,
            None,
        )
    }

    #[test]
    fn clients_of_one_sector_know_a_user_by_one_name_and_others_by_another() {
        let key = DerivationKey::from_master(&[1; 32]);
        let sub = |more: Value| of(&key, &client(&more).unwrap(), "u");
        let here = sub(json!({}));
        assert_eq!(
            here,
            sub(json!({"redirect_uris": ["https://c.example/other"]}))
        );
        assert_eq!(
            here,
            sub(
                json!({"redirect_uris": ["https://x.example/cb", "https://y.example/cb"], "sector_identifier_uri": "https://c.example/list.json"})
            )
        );
        assert_ne!(
            here,
            sub(json!({"redirect_uris": ["https://d.example/cb"]}))
        );
        assert_ne!(here, of(&key, &client(&json!({})).unwrap(), "v"));
        assert_eq!(sub(json!({"subject_type": "public"})), "u");
        assert_eq!(here.len(), 43, "a digest: {here}");
    }

    #[test]
    fn another_sector_is_another_fingerprint() {
        let mark = |more: Value| client(&more).unwrap().fingerprint();
        let sector = "https://c.example/list.json";
        let here = mark(json!({}));
        assert_eq!(here, mark(json!({"sector_identifier_uri": sector})));
        let there = json!({"sector_identifier_uri": "https://d.example/list.json"});
        assert_ne!(here, mark(there));
        assert_ne!(here, mark(json!({"subject_type": "public"})));
        let public = mark(json!({"subject_type": "public"}));
        assert_eq!(public, mark(json!({"subject_type": null})));
    }

    #[test]
    fn a_client_without_one_sector_is_refused() {
        for bad in [
            json!({"redirect_uris": ["https://x.example/cb", "https://y.example/cb"]}),
            json!({"redirect_uris": ["http://localhost/cb"]}),
            json!({"redirect_uris": ["com.example:/cb"]}),
            json!({"sector_identifier_uri": "http://c.example/list.json"}),
            json!({"subject_type": "secret"}),
        ] {
            assert!(client(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_cannot_join_the_sector_of_another() {
        let metadata = json!({
            "client_name": "c", "redirect_uris": ["https://evil.example/cb"], "token_endpoint_auth_method": "none",
            "subject_type": "pairwise", "sector_identifier_uri": "https://c.example/list.json",
        });
        let metadata = serde_json::from_value(metadata).unwrap();
        let accepted = Client::accept(metadata, Origin::Document).unwrap();
        assert_eq!(sector(&accepted.metadata).unwrap().unwrap(), "evil.example");
    }

    #[test]
    fn a_document_with_pairwise_subjects_has_only_the_grants_of_its_redirect() {
        let accept = |more: Value| {
            let mut metadata = json!({
                "client_name": "c", "redirect_uris": ["https://c.example/cb"], "subject_type": "pairwise",
                "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://evil.example/jwks",
                "backchannel_token_delivery_mode": "poll", "grant_types": ["authorization_code",
                    "urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba"],
            });
            let object = metadata.as_object_mut().unwrap();
            object.extend(more.as_object().unwrap().clone());
            Client::accept(serde_json::from_value(metadata).unwrap(), Origin::Document)
        };
        let kept = |more| accept(more).unwrap().metadata.grant_types.unwrap();
        assert_eq!(kept(json!({})), ["authorization_code"]);
        assert_eq!(kept(json!({"subject_type": "public"})).len(), 3);
        let elsewhere = json!({"backchannel_logout_uri": "https://evil.example/logout"});
        assert!(accept(elsewhere).is_err());
    }

    #[test]
    fn the_list_of_a_sector_holds_every_redirect_uri() {
        let client = client(&json!({})).unwrap();
        let check = |list: &str| check_sector(&client.metadata, list.as_bytes());
        assert!(check(r#"["https://c.example/cb", "https://d.example/cb"]"#).is_ok());
        for bad in ["[]", "{}", "", r#"["https://c.example/other"]"#, "[1]"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let nowhere = Metadata {
            redirect_uris: vec![],
            ..client.metadata.clone()
        };
        assert!(check_sector(&nowhere, b"[]").is_err(), "no redirect URI");
    }
}
