//! What a client is. Registration, client id metadata documents, the configuration and the command line all bring
//! [`Metadata`] and pass through [`Client::accept`]; nothing else makes a [`Client`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use url::Url;

use super::jwt;
use super::redirect::RegisteredUri;
use super::refusal::{Code, Refusal};
use super::scope::Scope;
use super::secret::{Digest, fingerprint};

/// Most redirect URIs of one client.
const MOST_REDIRECTS: usize = 50;
/// Longest text member, in bytes.
const LONGEST_TEXT: usize = 2048;

/// Client metadata as RFC 7591 §2 and OIDC Registration §2 name it. Unknown members are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of RFC 7591 section 2")]
pub struct Metadata {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    /// OpenID Connect RP Metadata Choices: the methods that the client can use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// (ours) `false` lets a confidential client of the operator go without PKCE
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_pkce: Option<bool>,
    /// (ours) the resource of a request that names none
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_resource: Option<String>,
}

/// How a client came to us; it decides what the metadata may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the configuration file.
    Static,
    /// Added by the operator at run time.
    Operator,
    /// Registered itself (RFC 7591).
    Dynamic,
    /// A client id metadata document at the URL that is its id.
    Document,
}

impl Origin {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Static => "static",
            Origin::Operator => "operator",
            Origin::Dynamic => "dynamic",
            Origin::Document => "document",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Origin> {
        [
            Origin::Static,
            Origin::Operator,
            Origin::Dynamic,
            Origin::Document,
        ]
        .into_iter()
        .find(|o| o.as_str() == text)
    }

    /// True when the operator vouches for the client.
    #[must_use]
    pub fn is_operators(self) -> bool {
        matches!(self, Origin::Static | Origin::Operator)
    }
}

/// The grants that this server has; others in a client's metadata are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GrantType {
    /// RFC 6749 §4.1
    AuthorizationCode,
    /// RFC 6749 §6
    RefreshToken,
    /// RFC 6749 §4.4
    ClientCredentials,
}

impl GrantType {
    /// Every grant, in the order of the metadata document.
    pub const ALL: [GrantType; 3] = [
        GrantType::AuthorizationCode,
        GrantType::RefreshToken,
        GrantType::ClientCredentials,
    ];

    /// The value of `grant_type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::RefreshToken => "refresh_token",
            GrantType::ClientCredentials => "client_credentials",
        }
    }

    /// Reads a `grant_type`.
    #[must_use]
    pub fn parse(text: &str) -> Option<GrantType> {
        GrantType::ALL
            .into_iter()
            .find(|grant| grant.as_str() == text)
    }
}

/// How a client proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A public client: PKCE is its only proof.
    None,
    /// `client_secret_basic` or `client_secret_post`; both carry the same secret.
    Secret(Digest),
    /// `private_key_jwt` (RFC 7523).
    Keys(KeySource),
}

/// The method names of [`Auth`], as negotiated before a secret exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `none`
    None,
    /// `client_secret_basic`
    SecretBasic,
    /// `client_secret_post`
    SecretPost,
    /// `private_key_jwt`
    PrivateKeyJwt,
}

impl Method {
    /// Every method, most preferred last.
    pub const ALL: [Method; 4] = [
        Method::None,
        Method::SecretPost,
        Method::SecretBasic,
        Method::PrivateKeyJwt,
    ];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::None => "none",
            Method::SecretBasic => "client_secret_basic",
            Method::SecretPost => "client_secret_post",
            Method::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// True when the client gets a secret from us.
    #[must_use]
    pub fn uses_secret(self) -> bool {
        matches!(self, Method::SecretBasic | Method::SecretPost)
    }

    fn parse(text: &str) -> Option<Method> {
        Method::ALL
            .into_iter()
            .find(|method| method.as_str() == text)
    }
}

/// Where a client's public keys are.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// In the metadata.
    Inline(serde_json::Value),
    /// Behind a URL that we fetch.
    Uri(Url),
}

/// A client as the protocol sees it; every member was checked by [`Client::accept`].
#[derive(Clone, Debug)]
pub struct Client {
    /// `client_id`
    pub id: String,
    /// Where the metadata came from.
    pub origin: Origin,
    /// The metadata with every default filled in and everything unknown left out.
    pub metadata: Metadata,
    /// Registered redirect URIs.
    pub redirects: Vec<RegisteredUri>,
    /// Grants that the client may use.
    pub grants: BTreeSet<GrantType>,
    /// How it authenticates.
    pub auth: Auth,
}

/// Metadata that was accepted; it becomes a [`Client`] once its secret, if any, is known.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Effective metadata, as it is answered and stored.
    pub metadata: Metadata,
    /// The negotiated method.
    pub method: Method,
    redirects: Vec<RegisteredUri>,
    grants: BTreeSet<GrantType>,
}

impl Client {
    /// Checks metadata and fills in defaults (RFC 7591 §2, OIDC Registration §2; rules ).
    pub fn accept(mut metadata: Metadata, origin: Origin) -> Result<Accepted, Refusal> {
        check_texts(&metadata)?;
        let method = negotiate(&metadata, origin)?;
        let grants = grants(&metadata, origin, method)?;
        let redirects = redirects(&metadata, grants.contains(&GrantType::AuthorizationCode))?;
        if let Some(types) = &metadata.response_types
            && !types.is_empty()
            && !types.iter().any(|kind| kind == "code")
        {
            return Err(invalid_metadata("response_types must contain code"));
        }
        if origin == Origin::Document && metadata.client_name.as_deref().is_none_or(str::is_empty) {
            return Err(invalid_metadata("client_name is missing"));
        }
        id_token_alg(&metadata)?;
        metadata.token_endpoint_auth_method = Some(method.as_str().to_owned());
        metadata.token_endpoint_auth_methods_supported = None;
        metadata.grant_types = Some(
            grants
                .iter()
                .map(|grant| grant.as_str().to_owned())
                .collect(),
        );
        metadata.response_types = Some(if grants.contains(&GrantType::AuthorizationCode) {
            vec!["code".into()]
        } else {
            vec![]
        });
        metadata.scope = metadata
            .scope
            .map(|scope| Scope::parse(&scope).to_string())
            .filter(|scope| !scope.is_empty());
        Ok(Accepted {
            metadata,
            method,
            redirects,
            grants,
        })
    }

    /// The name for people: the client's own, else the host of its id, else the id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.client_name.as_deref().unwrap_or(&self.id)
    }

    /// The host of an id that is a URL.
    #[must_use]
    pub fn id_host(&self) -> Option<String> {
        Url::parse(&self.id)
            .ok()
            .filter(|url| url.scheme() == "https")
            .and_then(|url| url.host_str().map(str::to_owned))
    }

    /// True without client authentication.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self.auth, Auth::None)
    }

    /// PKCE is required unless the operator lifted it for a client that authenticates (rule A-21).
    #[must_use]
    pub fn needs_pkce(&self) -> bool {
        self.is_public()
            || !self.origin.is_operators()
            || self.metadata.require_pkce.unwrap_or(true)
    }

    /// True when the client may use `grant`.
    #[must_use]
    pub fn may(&self, grant: GrantType) -> bool {
        self.grants.contains(&grant)
    }

    /// The algorithm of its ID tokens; RS256 unless registered otherwise.
    #[must_use]
    pub fn id_token_alg(&self) -> jwt::Alg {
        id_token_alg(&self.metadata).unwrap_or(jwt::Alg::Rs256)
    }

    /// What consent was given to; a change asks the user again (rule A-59).
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let m = &self.metadata;
        let mut uris = m.redirect_uris.clone();
        uris.sort();
        fingerprint(&serde_json::json!([uris, m.client_name, m.jwks, m.jwks_uri]).to_string())
    }
}

impl Accepted {
    /// The client with its identity and, for a secret method, the digest of its secret.
    pub fn into_client(
        self,
        id: String,
        origin: Origin,
        secret: Option<Digest>,
    ) -> Result<Client, Refusal> {
        let auth = match (self.method, secret) {
            (Method::None, _) => Auth::None,
            (Method::SecretBasic | Method::SecretPost, Some(digest)) => Auth::Secret(digest),
            (Method::SecretBasic | Method::SecretPost, None) => {
                return Err(invalid_metadata("this method needs a client secret"));
            }
            (Method::PrivateKeyJwt, _) => Auth::Keys(
                key_source(&self.metadata)?
                    .ok_or_else(|| invalid_metadata("private_key_jwt needs jwks or jwks_uri"))?,
            ),
        };
        Ok(Client {
            id,
            origin,
            metadata: self.metadata,
            redirects: self.redirects,
            grants: self.grants,
            auth,
        })
    }
}

fn invalid_metadata(description: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidClientMetadata, description)
}

/// The best method that both sides have. A list (RP Metadata Choices) goes before the single value; an unknown
/// method is refused only when nothing else works.
fn negotiate(metadata: &Metadata, origin: Origin) -> Result<Method, Refusal> {
    let has_keys = key_source(metadata)?.is_some();
    let works = |method: &Method| match method {
        Method::None => true,
        Method::SecretBasic | Method::SecretPost => origin != Origin::Document,
        Method::PrivateKeyJwt => has_keys,
    };
    let single = metadata.token_endpoint_auth_method.as_deref();
    let listed = metadata
        .token_endpoint_auth_methods_supported
        .as_deref()
        .unwrap_or_default();
    if !listed.is_empty() {
        let known = |text: &String| Method::parse(text);
        if let Some(method) = Method::ALL
            .into_iter()
            .rev()
            .find(|m| listed.iter().filter_map(known).any(|l| l == *m) && works(m))
        {
            return Ok(method);
        }
    }
    match single {
        Some(text) => match Method::parse(text) {
            Some(method) if works(&method) => Ok(method),
            Some(Method::PrivateKeyJwt) => {
                Err(invalid_metadata("private_key_jwt needs jwks or jwks_uri"))
            }
            Some(_) => Err(invalid_metadata(
                "a client id metadata document cannot use a shared secret",
            )),
            None => Err(invalid_metadata(
                "token_endpoint_auth_method must be none, client_secret_basic, client_secret_post or private_key_jwt",
            )),
        },
        None if !listed.is_empty() => Err(invalid_metadata(
            "none of token_endpoint_auth_methods_supported works here; add none or private_key_jwt",
        )),
        None if origin == Origin::Document => Ok(if has_keys {
            Method::PrivateKeyJwt
        } else {
            Method::None
        }),
        None => Ok(Method::SecretBasic),
    }
}

fn key_source(metadata: &Metadata) -> Result<Option<KeySource>, Refusal> {
    match (&metadata.jwks, &metadata.jwks_uri) {
        (Some(_), Some(_)) => Err(invalid_metadata(
            "jwks and jwks_uri exclude each other (RFC 7591 2)",
        )),
        (Some(jwks), None) => {
            jwt::PublicKeys::parse(jwks).map_err(|e| invalid_metadata(format!("jwks: {e}")))?;
            Ok(Some(KeySource::Inline(jwks.clone())))
        }
        (None, Some(uri)) => match Url::parse(uri) {
            Ok(url) if url.scheme() == "https" => Ok(Some(KeySource::Uri(url))),
            _ => Err(invalid_metadata("jwks_uri must be an https URL")),
        },
        (None, None) => Ok(None),
    }
}

/// Unknown grants are dropped, and machine grants of clients that nobody vouched for too (rule A-45).
fn grants(
    metadata: &Metadata,
    origin: Origin,
    method: Method,
) -> Result<BTreeSet<GrantType>, Refusal> {
    let Some(declared) = &metadata.grant_types else {
        return Ok(BTreeSet::from([GrantType::AuthorizationCode]));
    };
    let machine = origin.is_operators() && method != Method::None;
    let grants: BTreeSet<_> = declared
        .iter()
        .filter_map(|text| GrantType::parse(text))
        .filter(|grant| *grant != GrantType::ClientCredentials || machine)
        .collect();
    if grants.is_empty() && !origin.is_operators() {
        return Err(invalid_metadata(
            "grant_types must contain authorization_code",
        ));
    }
    if origin.is_operators()
        && !machine
        && declared
            .iter()
            .any(|text| text == GrantType::ClientCredentials.as_str())
    {
        return Err(invalid_metadata(
            "client_credentials needs a client that authenticates (RFC 6749 4.4)",
        ));
    }
    Ok(grants)
}

fn redirects(metadata: &Metadata, needed: bool) -> Result<Vec<RegisteredUri>, Refusal> {
    if needed && metadata.redirect_uris.is_empty() {
        return Err(Refusal::new(
            Code::InvalidRedirectUri,
            "redirect_uris is missing or empty",
        ));
    }
    if metadata.redirect_uris.len() > MOST_REDIRECTS {
        return Err(Refusal::new(
            Code::InvalidRedirectUri,
            format!("at most {MOST_REDIRECTS} redirect_uris"),
        ));
    }
    metadata
        .redirect_uris
        .iter()
        .map(|uri| RegisteredUri::parse(uri))
        .collect()
}

fn id_token_alg(metadata: &Metadata) -> Result<jwt::Alg, Refusal> {
    match metadata.id_token_signed_response_alg.as_deref() {
        None | Some("RS256") => Ok(jwt::Alg::Rs256),
        Some("ES256") => Ok(jwt::Alg::Es256),
        Some(_) => Err(invalid_metadata(
            "id_token_signed_response_alg must be RS256 or ES256",
        )),
    }
}

fn check_texts(metadata: &Metadata) -> Result<(), Refusal> {
    let links = [
        ("client_uri", &metadata.client_uri),
        ("logo_uri", &metadata.logo_uri),
        ("policy_uri", &metadata.policy_uri),
        ("tos_uri", &metadata.tos_uri),
    ];
    for (name, link) in links {
        if let Some(link) = link
            && !link.is_empty()
            && !Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
        {
            return Err(invalid_metadata(format!(
                "{name} must be an http or https URL"
            )));
        }
    }
    let texts = [
        &metadata.client_name,
        &metadata.scope,
        &metadata.software_id,
        &metadata.software_version,
        &metadata.jwks_uri,
    ];
    let too_long =
        |text: &&Option<String>| text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT);
    if texts.iter().any(too_long) || links.iter().any(|(_, link)| too_long(link)) {
        return Err(invalid_metadata(format!(
            "a text is longer than {LONGEST_TEXT} bytes"
        )));
    }
    if metadata.contacts.len() > 10 || metadata.contacts.iter().any(|contact| contact.len() > 256) {
        return Err(invalid_metadata("at most 10 contacts of 256 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn accept(origin: Origin, value: serde_json::Value) -> Result<Accepted, Refusal> {
        Client::accept(serde_json::from_value(value).unwrap(), origin)
    }

    const CB: &str = "https://c.example/cb";

    #[test]
    fn a_list_of_methods_negotiates_private_key_jwt_if_possible_else_none() {
        let with_keys = json!({"client_name": "C", "redirect_uris": [CB], "jwks_uri": "https://c.example/jwks",
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none", "tls_client_auth"]});
        assert_eq!(
            accept(Origin::Document, with_keys).unwrap().method,
            Method::PrivateKeyJwt
        );
        let without = json!({"client_name": "C", "redirect_uris": [CB],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"]});
        assert_eq!(
            accept(Origin::Document, without).unwrap().method,
            Method::None
        );
    }

    #[test]
    fn an_unknown_method_is_refused_only_when_no_other_works() {
        let one = json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "self_signed_tls_client_auth"});
        assert_eq!(
            accept(Origin::Dynamic, one).unwrap_err().code,
            Code::InvalidClientMetadata
        );
        let both = json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "tls_client_auth",
            "token_endpoint_auth_methods_supported": ["tls_client_auth", "none"]});
        assert_eq!(accept(Origin::Dynamic, both).unwrap().method, Method::None);
    }

    #[test]
    fn unknown_grants_are_ignored_and_machine_grants_need_the_operator() {
        let claude = json!({"client_name": "Claude", "redirect_uris": [CB], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]});
        let accepted = accept(Origin::Document, claude).unwrap();
        assert_eq!(
            accepted.metadata.grant_types.unwrap(),
            ["authorization_code", "refresh_token"]
        );
        let machine = json!({"redirect_uris": [CB], "grant_types": ["authorization_code", "client_credentials"]});
        assert_eq!(
            accept(Origin::Dynamic, machine.clone())
                .unwrap()
                .metadata
                .grant_types
                .unwrap(),
            ["authorization_code"]
        );
        assert_eq!(
            accept(Origin::Operator, machine)
                .unwrap()
                .metadata
                .grant_types
                .unwrap()
                .len(),
            2
        );
        let public =
            json!({"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]});
        assert!(accept(Origin::Operator, public).is_err());
    }

    #[test]
    fn a_document_needs_a_name_redirects_and_no_shared_secret() {
        for bad in [
            json!({"redirect_uris": [CB]}),
            json!({"client_name": "C"}),
            json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "client_secret_basic"}),
            json!({"client_name": "C", "redirect_uris": [CB], "token_endpoint_auth_method": "private_key_jwt"}),
            json!({"client_name": "C", "redirect_uris": [CB], "response_types": ["token"]}),
            json!({"client_name": "C", "redirect_uris": ["http://c.example/cb"]}),
            json!({"client_name": "C", "redirect_uris": [CB], "logo_uri": "javascript:alert(1)"}),
            json!({"client_name": "C".repeat(3000), "redirect_uris": [CB]}),
            json!({"client_name": "C", "redirect_uris": [CB], "id_token_signed_response_alg": "none"}),
        ] {
            assert!(accept(Origin::Document, bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_changed_redirect_name_or_key_changes_the_fingerprint() {
        let client = |value| {
            accept(Origin::Document, value)
                .unwrap()
                .into_client("x".into(), Origin::Document, None)
                .unwrap()
        };
        let base = client(json!({"client_name": "C", "redirect_uris": [CB]}));
        let link = client(
            json!({"client_name": "C", "redirect_uris": [CB], "client_uri": "https://c.example"}),
        );
        assert_eq!(base.fingerprint(), link.fingerprint());
        for other in [
            json!({"client_name": "D", "redirect_uris": [CB]}),
            json!({"client_name": "C", "redirect_uris": [CB, "https://c.example/2"]}),
            json!({"client_name": "C", "redirect_uris": [CB], "jwks_uri": "https://c.example/jwks"}),
        ] {
            assert_ne!(base.fingerprint(), client(other).fingerprint());
        }
    }
}
