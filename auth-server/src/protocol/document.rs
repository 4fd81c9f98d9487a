//! Client id metadata documents (draft-ietf-oauth-client-id-metadata-document): which URLs are client ids, whom the
//! operator trusts, and what a document must say. Fetching and keeping them is the business of the flow.

use serde_json::{Map, Value};
use url::Url;

use super::client::{Accepted, Client, Metadata, Origin, Support};
use super::refusal::{Refusal, invalid_client};
use super::register;

/// A client id that is the URL of its document (§3 of the draft, rule A-55). Ids are compared as text, so only the
/// normal form of a URL is one: two spellings would be two clients with one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdUrl {
    text: String,
    url: Url,
}

impl ClientIdUrl {
    /// Reads a client id.
    pub fn parse(text: &str) -> Result<ClientIdUrl, Refusal> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(200).collect();
            Err(invalid_client(format!("client_id {shown}: {why}")))
        };
        if text.starts_with("http://") {
            return refuse("a client id that is a URL must start with https://");
        }
        let Ok(url) = Url::parse(text) else {
            return refuse("not a URL");
        };
        if url.scheme() != "https" {
            return refuse("a client id that is a URL must start with https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("user information is not allowed");
        }
        if url.fragment().is_some() {
            return refuse("a fragment is not allowed");
        }
        if url.query().is_some() {
            return refuse("a query is not allowed");
        }
        if url.host_str().is_some_and(|host| host.ends_with('.')) {
            return refuse("the host must not end with a dot: it would be a second spelling");
        }
        // `Url` has resolved dot segments and added a missing path, so the text is looked at.
        let rest = text.get("https://".len()..).unwrap_or_default();
        let Some((_, path)) = rest.split_once('/') else {
            return refuse("the URL needs a path, like https://host/client.json");
        };
        if path.split(['/', '\\']).any(is_dots) {
            return refuse("dot segments are not allowed in the path");
        }
        if url.as_str() != text {
            return refuse(&format!("write it in its normal form, {url}"));
        }
        Ok(ClientIdUrl {
            text: text.to_owned(),
            url,
        })
    }

    /// The client id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the document is.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Applies the operator's lists of hosts and exact ids: `deny` goes first, an empty `allow` admits everybody
    /// (rule A-60). A host in `deny` stands for every name below it too, one in `allow` for itself. They are about
    /// documents only; a client that registers itself has no host that could be checked.
    pub fn trusted(&self, allow: &[String], deny: &[String]) -> Result<(), Refusal> {
        if deny
            .iter()
            .any(|entry| self.is_named(entry) || self.is_below(entry))
        {
            return Err(invalid_client("this server does not accept this client")
                .setting("registration.deny"));
        }
        if !allow.is_empty() && !allow.iter().any(|entry| self.is_named(entry)) {
            return Err(invalid_client(
                "this server accepts only clients that its operator has listed",
            )
            .setting("registration.allow"));
        }
        Ok(())
    }

    /// True for a host below the one that the entry names.
    fn is_below(&self, entry: &str) -> bool {
        let Some(url::Host::Domain(host)) = self.url.host() else {
            return false;
        };
        let above = host.strip_suffix(&entry.to_ascii_lowercase());
        above.is_some_and(|above| above.ends_with('.'))
    }

    fn is_named(&self, entry: &str) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        entry == self.text
            || entry.eq_ignore_ascii_case(host)
            || self
                .url
                .port()
                .is_some_and(|port| entry.eq_ignore_ascii_case(&format!("{host}:{port}")))
    }
}

/// `.`, `..` and their percent-encoded spellings.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// Reads a document that was accepted before, or that the operator put in the place of one.
pub fn accept(id: &ClientIdUrl, body: &[u8]) -> Result<Client, Refusal> {
    client(id, body, |metadata| {
        Client::accept(metadata, Origin::Document)
    })
}

/// Reads a document that was fetched, for a server that has no more than this.
pub fn bring(id: &ClientIdUrl, body: &[u8], support: Support<'_>) -> Result<Client, Refusal> {
    client(id, body, |metadata| {
        Client::bring(metadata, Origin::Document, support)
    })
}

/// The document behind a client id (§4 of the draft, rule A-56). It must call itself by that id and must not hold secrets:
/// everybody can read it.
fn client(
    id: &ClientIdUrl,
    body: &[u8],
    accept: impl FnOnce(Metadata) -> Result<Accepted, Refusal>,
) -> Result<Client, Refusal> {
    let refuse = |why: &str| invalid_client(format!("the document {}: {why}", id.as_str()));
    let document: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| refuse("not a JSON object"))?;
    match document.get("client_id").and_then(Value::as_str) {
        Some(own) if own == id.as_str() => {}
        Some(_) => return Err(refuse("its client_id must equal its URL exactly")),
        None => {
            return Err(refuse(
                "client_id is missing; it must equal the URL exactly",
            ));
        }
    }
    if let Some(secret) = document
        .keys()
        .find(|name| name.starts_with("client_secret"))
    {
        return Err(refuse(&format!(
            "{secret} must not stand in a public document"
        )));
    }
    if holds_secret_keys(&document) {
        return Err(refuse("jwks must hold public keys only"));
    }
    register::metadata(document)
        .and_then(accept)
        .and_then(|accepted| accepted.into_client(id.text.clone(), Origin::Document, None))
        .map_err(|refusal| refuse(&refusal.description))
}

/// Private members (`d`, RFC 7518 §6) or symmetric keys (`k`).
fn holds_secret_keys(document: &Map<String, Value>) -> bool {
    let keys = document.get("jwks").and_then(|jwks| jwks.get("keys"));
    keys.and_then(Value::as_array).is_some_and(|keys| {
        keys.iter()
            .any(|key| key.get("d").is_some() || key.get("k").is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ID: &str = "https://client.example/oauth/client.json";

    #[test]
    fn what_is_brought_is_accepted_when_it_is_read_again() {
        let id = ClientIdUrl::parse(ID).unwrap();
        let support = Support {
            algorithms: &crate::protocol::jwt::Alg::ALL,
            features: crate::protocol::feature::Features::default(),
        };
        for (member, value, good) in [
            ("response_types", json!(["code", "code id_token"]), true),
            (
                "token_endpoint_auth_methods_supported",
                json!(["client_secret_jwt", "none"]),
                true,
            ),
            (
                "token_endpoint_auth_methods_supported",
                json!(["client_secret_jwt"]),
                false,
            ),
        ] {
            let mut document = document();
            document[member] = value;
            let body = document.to_string();
            let brought = bring(&id, body.as_bytes(), support);
            assert_eq!(brought.is_ok(), good, "{body}");
            assert_eq!(accept(&id, body.as_bytes()).is_ok(), good, "{body}");
        }
    }

    #[test]
    fn a_client_id_url_is_https_with_a_path_and_in_normal_form() {
        for good in [
            ID,
            "https://client.example/",
            "https://client.example:8443/c",
            "https://client.example/a..b/.c/c%20d",
            "https://xn--bcher-kva.example/c",
        ] {
            assert!(ClientIdUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://client.example/c", "https://"),
            ("https://client.example", "needs a path"),
            ("https://client.example?x=1", "a query"),
            ("https://client.example/c?x=1", "a query"),
            ("https://client.example/c#f", "a fragment"),
            ("https://u@client.example/c", "user information"),
            ("https://u:p@client.example/c", "user information"),
            ("https://client.example/a/../c", "dot segments"),
            ("https://client.example/./c", "dot segments"),
            ("https://client.example/a/..", "dot segments"),
            ("https://client.example/a/%2e%2E/c", "dot segments"),
            ("https://client.example/a\\..\\c", "dot segments"),
            ("https://client.example:443/c", "normal form"),
            ("https://Client.example/c", "normal form"),
            ("HTTPS://client.example/c", "normal form"),
            ("https:///client.example/c", "normal form"),
            ("https://client.example/a b", "normal form"),
            ("https://client.example/c ", "normal form"),
            ("https://b\u{fc}cher.example/c", "normal form"),
            ("https://", "not a URL"),
            ("https://[::1/c", "not a URL"),
            ("https://client.example./c", "end with a dot"),
            ("https://client.example.:8443/c", "end with a dot"),
            ("client.example/c", "not a URL"),
        ] {
            let refusal = ClientIdUrl::parse(bad).unwrap_err();
            assert!(
                refusal.description.contains(why),
                "{bad}: {}",
                refusal.description
            );
        }
    }

    #[test]
    fn the_operator_trusts_by_host_or_exact_id_and_deny_goes_first() {
        let id = ClientIdUrl::parse(ID).unwrap();
        let list = |entries: &[&str]| entries.iter().map(|&e| e.to_owned()).collect::<Vec<_>>();
        let setting = |allow: &[&str], deny: &[&str]| {
            id.trusted(&list(allow), &list(deny))
                .map_err(|refusal| refusal.setting.unwrap())
        };
        assert_eq!(setting(&[], &[]), Ok(()));
        assert_eq!(setting(&["Client.example"], &[]), Ok(()));
        assert_eq!(
            setting(&["other.example", ID], &["https://client.example/"]),
            Ok(())
        );
        assert_eq!(setting(&["example"], &[]), Err("registration.allow"));
        assert_eq!(
            setting(&["https://client.example/oauth"], &[]),
            Err("registration.allow")
        );
        assert_eq!(
            setting(&[ID], &["client.example"]),
            Err("registration.deny")
        );
        assert_eq!(setting(&[], &[ID]), Err("registration.deny"));
        assert_eq!(
            setting(&["client.example"], &["Example"]),
            Err("registration.deny")
        );
        assert_eq!(
            setting(&[], &["ient.example", "x.client.example", ""]),
            Ok(())
        );
        let below = ClientIdUrl::parse("https://www.client.example/c").unwrap();
        assert!(below.trusted(&[], &list(&["client.example"])).is_err());
        assert!(below.trusted(&list(&["client.example"]), &[]).is_err());
        let with_port = ClientIdUrl::parse("https://client.example:8443/c").unwrap();
        assert!(
            with_port
                .trusted(&list(&["client.example:8443"]), &[])
                .is_ok()
        );
    }

    fn document() -> Value {
        json!({"client_id": ID, "client_name": "C", "redirect_uris": ["https://client.example/cb"]})
    }

    #[test]
    fn a_document_speaks_for_its_own_url_only_and_holds_no_secrets() {
        let id = ClientIdUrl::parse(ID).unwrap();
        let client = accept(&id, document().to_string().as_bytes()).unwrap();
        assert_eq!(
            (client.id.as_str(), client.name(), client.is_public()),
            (ID, "C", true)
        );
        let with = |name: &str, value: Value| {
            let mut document = document();
            document[name] = value;
            document.to_string()
        };
        for (bad, why) in [
            (
                with(
                    "client_id",
                    json!("https://client.example/oauth/client.json/"),
                ),
                "exactly",
            ),
            (
                with(
                    "client_id",
                    json!("https://client.example:443/oauth/client.json"),
                ),
                "exactly",
            ),
            (with("client_id", json!(7)), "client_id is missing"),
            (with("client_secret", json!("s")), "client_secret must not"),
            (
                with("client_secret_expires_at", json!(0)),
                "client_secret_expires_at must not",
            ),
            (
                with("token_endpoint_auth_method", json!("client_secret_post")),
                "shared secret",
            ),
            (
                with("jwks", json!({"keys": [{"kty": "oct", "k": "AA"}]})),
                "public keys only",
            ),
            (
                with("jwks", json!({"keys": [{"kty": "EC", "d": "AA"}]})),
                "public keys only",
            ),
            (
                with("redirect_uris", json!("https://client.example/cb")),
                "redirect_uris",
            ),
            (with("redirect_uris", json!([])), "redirect_uris"),
            (with("client_name", Value::Null), "client_name is missing"),
            ("[]".to_owned(), "JSON object"),
            ("{".to_owned(), "JSON object"),
        ] {
            let refusal = accept(&id, bad.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, super::super::refusal::Code::InvalidClient);
            assert!(
                refusal.description.contains(why),
                "{bad}: {}",
                refusal.description
            );
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_the_url_that_is_fetched(text in "https://[a-c.:@%2eE/\\\\?#0-9-]{0,30}") {
            if let Ok(id) = ClientIdUrl::parse(&text) {
                prop_assert_eq!(id.url().as_str(), text.as_str());
                prop_assert!(id.url().query().is_none() && id.url().fragment().is_none());
                prop_assert!(id.url().username().is_empty() && id.url().password().is_none());
            }
        }
    }
}
