//! What a client is. Registration, client id metadata documents, the configuration and the command line all bring
//! [`Metadata`] and pass through [`Client::accept`]; nothing else makes a [`Client`].

use std::collections::BTreeSet;

use serde_json::json;
use url::Url;

use super::feature::Features;
use super::redirect::RegisteredUri;
use super::refusal::Refusal;
use super::secret::{Digest, fingerprint};
use accept::invalid_metadata;
use answers::Answers;

mod accept;
mod answers;
mod backchannel;
mod certified;
mod grant_type;
mod logout;
mod metadata;
mod policy;
mod secret;
mod support;

pub use backchannel::Delivery;
pub use certified::Certified;
pub use grant_type::GrantType;
pub use logout::Channel;
pub use metadata::Metadata;
pub use secret::{Kept, SharedSecret};
pub use support::Support;

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

/// How a client proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A public client: PKCE is its only proof.
    None,
    /// `client_secret_basic` or `client_secret_post`; both carry the same secret.
    Secret(Digest),
    /// `client_secret_jwt`: the secret itself, not its digest.
    SharedSecret(SharedSecret),
    /// `private_key_jwt` (RFC 7523).
    Keys(KeySource),
    /// `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2).
    Certificate(Certified),
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
    /// `client_secret_jwt`
    SecretJwt,
    /// `private_key_jwt`
    PrivateKeyJwt,
    /// `tls_client_auth`
    Tls,
    /// `self_signed_tls_client_auth`
    SelfSignedTls,
}

impl Method {
    /// The methods of every server, most preferred last: a secret that we need not keep is better than one that we must.
    pub const ALL: [Method; 5] = [
        Method::None,
        Method::SecretJwt,
        Method::SecretPost,
        Method::SecretBasic,
        Method::PrivateKeyJwt,
    ];

    /// Those that need certificates of clients.
    pub const MTLS: [Method; 2] = [Method::SelfSignedTls, Method::Tls];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Tls => "tls_client_auth",
            Method::SelfSignedTls => "self_signed_tls_client_auth",
            Method::None => "none",
            Method::SecretBasic => "client_secret_basic",
            Method::SecretPost => "client_secret_post",
            Method::SecretJwt => "client_secret_jwt",
            Method::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// True when the client gets a secret from us.
    #[must_use]
    pub fn uses_secret(self) -> bool {
        matches!(
            self,
            Method::SecretBasic | Method::SecretPost | Method::SecretJwt
        )
    }

    fn parse(text: &str) -> Option<Method> {
        let mut all = Method::ALL.into_iter().chain(Method::MTLS);
        all.find(|method| method.as_str() == text)
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
    keys: Option<KeySource>,
    sector: Option<String>,
    answers: Answers,
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
    keys: Option<KeySource>,
    sector: Option<String>,
    answers: Answers,
}

impl Client {
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

    /// Where its public keys are, whatever they are for.
    #[must_use]
    pub fn key_source(&self) -> Option<&KeySource> {
        self.keys.as_ref()
    }

    /// The sector in which users have a name of their own; `None` with public subjects.
    #[must_use]
    pub fn sector(&self) -> Option<&str> {
        self.sector.as_deref()
    }

    /// What consent was given to; a change asks the user again (rule A-59).
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let m = &self.metadata;
        let mut uris = m.redirect_uris.clone();
        uris.sort();
        let counted = self
            .grants
            .iter()
            .filter(|grant| grant.uses_remembered_consent());
        let grants: Vec<_> = counted.map(|grant| grant.as_str()).collect();
        let mut facts = vec![
            json!(uris),
            json!(m.client_name),
            json!(m.jwks),
            json!(m.jwks_uri),
            json!(grants),
            json!(m.token_endpoint_auth_method),
        ];
        facts.extend(self.sector().map(|sector| json!(sector)));
        fingerprint(&json!(facts).to_string())
    }
}

impl Accepted {
    /// Leaves out the grants that are switched off, for a client that is told what it has.
    pub fn offered(mut self, on: Features) -> Result<Accepted, Refusal> {
        self.grants.retain(|grant| on.offers(*grant));
        if self.grants.is_empty() {
            return Err(invalid_metadata(
                "grant_types must contain authorization_code",
            ));
        }
        let names = self.grants.iter().map(|grant| grant.as_str().to_owned());
        self.metadata.grant_types = Some(names.collect());
        Ok(self)
    }

    /// True when every answer stays on the user's device: software that anybody can install.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.redirects.iter().all(RegisteredUri::is_native)
    }

    /// The client with its identity and, for a secret method, the digest of its secret.
    pub fn into_client(
        self,
        id: String,
        origin: Origin,
        secret: Option<Kept>,
    ) -> Result<Client, Refusal> {
        let auth = match (self.method, secret) {
            (Method::None, _) => Auth::None,
            (Method::SecretBasic | Method::SecretPost, Some(Kept::Digest(digest))) => {
                Auth::Secret(digest)
            }
            (Method::SecretJwt, Some(Kept::Shared(secret))) => Auth::SharedSecret(secret),
            (Method::SecretJwt, Some(Kept::Digest(_))) => {
                return Err(invalid_metadata(
                    "client_secret_jwt needs the secret itself, not its digest",
                ));
            }
            (Method::SecretBasic | Method::SecretPost | Method::SecretJwt, _) => {
                return Err(invalid_metadata("this method needs a client secret"));
            }
            (Method::PrivateKeyJwt, _) => Auth::Keys(
                self.keys
                    .clone()
                    .ok_or_else(|| invalid_metadata("private_key_jwt needs jwks or jwks_uri"))?,
            ),
            (Method::Tls, _) => Auth::Certificate(Certified::by_name(&self.metadata)?),
            (Method::SelfSignedTls, _) => Auth::Certificate(Certified::by_keys(&self.metadata)?),
        };
        Ok(Client {
            id,
            origin,
            metadata: self.metadata,
            redirects: self.redirects,
            grants: self.grants,
            auth,
            keys: self.keys,
            sector: self.sector,
            answers: self.answers,
        })
    }
}
