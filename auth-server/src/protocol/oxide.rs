//! The bridge to oxide-auth: the sole importer of that crate. Its sans-io machines decide whether a code, a refresh
//! token or a machine client may have a token; every question a machine asks has been answered before (the client is
//! authenticated, the row is loaded), so each driver here is one pass without I/O.
//!
//! Contained quirks of 0.6.1: the code machine compares parsed URLs, so the exact text is compared first; it demands
//! a redirect URI, so the stored one stands in; it reads the wall clock, so lifetimes are judged by the caller's
//! `now` and the machine sees no end; `Input::None` after the first step would destroy the refresh machine.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use oxide_auth::code_grant::extensions::Pkce;
use oxide_auth::code_grant::{accesstoken, authorization, client_credentials, refresh};
use oxide_auth::primitives::grant::{Extensions, Grant as Stored};
use oxide_auth::primitives::registrar::{BoundClient, ExactUrl, PreGrant, RegisteredUrl};
use url::Url;

use super::client::Client;
use super::grant::{CodeRow, Grant};
use super::pkce::Challenge;
use super::redirect::Redirect;
use super::refusal::{Code, Refusal, invalid_grant, invalid_request};
use super::scope::Scope;
use super::token::CodeRequest;

type OxideScope = oxide_auth::primitives::scope::Scope;

/// Negotiates an authorization request whose redirect was matched; returns the scope to ask the user for.
pub fn authorization(
    client: &Client,
    redirect: &Redirect,
    scope: &Scope,
    challenge: Option<&Challenge>,
) -> Result<Scope, Refusal> {
    struct Adapter<'a>(&'a Client, &'a Redirect, String);
    impl authorization::Request for Adapter<'_> {
        fn valid(&self) -> bool {
            true
        }
        fn client_id(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(&self.0.id))
        }
        fn scope(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(&self.2))
        }
        fn redirect_uri(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.1.uri()))
        }
        fn state(&self) -> Option<Cow<'_, str>> {
            None
        }
        fn response_type(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed("code"))
        }
        fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
            None
        }
    }
    let adapter = Adapter(client, redirect, scope.to_string());
    let mut machine = authorization::Authorization::new(&adapter);
    let mut input = authorization::Input::None;
    loop {
        input = match machine.advance(input) {
            authorization::Output::Bind {
                client_id,
                redirect_uri,
            } => {
                let uri: ExactUrl =
                    redirect_uri.ok_or_else(|| invalid_request("redirect_uri is not a URI"))?;
                authorization::Input::Bound {
                    request: &adapter,
                    bound_client: BoundClient {
                        client_id: Cow::Owned(client_id),
                        redirect_uri: Cow::Owned(RegisteredUrl::Exact(uri)),
                    },
                }
            }
            authorization::Output::Extend => {
                let mut extensions = Extensions::new();
                extend_with_challenge(
                    &mut extensions,
                    challenge.map(Challenge::as_str),
                    client.needs_pkce(),
                )
                .map_err(|()| {
                    invalid_request("code_challenge is missing: PKCE with S256 is required")
                })?;
                authorization::Input::Extended(extensions)
            }
            authorization::Output::Negotiate {
                bound_client,
                scope,
            } => authorization::Input::Negotiated {
                pre_grant: pre_grant(bound_client, scope),
                state: None,
            },
            authorization::Output::Ok { pre_grant, .. } => {
                return Ok(in_order(scope, &pre_grant.scope));
            }
            authorization::Output::Err(_) => {
                return Err(invalid_request("the authorization request is malformed"));
            }
        };
    }
}

/// Decides whether `client_id` may redeem the code with this request: client, redirect URI and PKCE.
pub fn code(
    row: &CodeRow,
    client_id: &str,
    request: &CodeRequest,
    pkce_required: bool,
) -> Result<(), Refusal> {
    struct Adapter<'a>(&'a str, &'a str, &'a CodeRequest);
    impl accesstoken::Request for Adapter<'_> {
        fn valid(&self) -> bool {
            true
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.2.code.reveal()))
        }
        fn authorization(&self) -> accesstoken::Authorization<'_> {
            accesstoken::Authorization::None
        }
        fn client_id(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.0))
        }
        fn redirect_uri(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.1))
        }
        fn grant_type(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed("authorization_code"))
        }
        fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
            None
        }
    }
    if request
        .redirect_uri
        .as_ref()
        .is_some_and(|sent| *sent != row.redirect_uri)
    {
        return Err(invalid_grant(
            "redirect_uri differs from the one of the authorization request",
        ));
    }
    if row.challenge.is_none() && request.redirect_uri.is_none() {
        return Err(invalid_grant(
            "redirect_uri is missing; without PKCE it must be repeated (RFC 6749 4.1.3)",
        ));
    }
    if row.challenge.is_none() && request.verifier.is_some() {
        return Err(invalid_grant(
            "code_verifier was sent but the authorization request had no code_challenge (RFC 9700 4.8.2)",
        ));
    }
    let pkce = if pkce_required {
        Pkce::required()
    } else {
        Pkce::optional()
    };
    let adapter = Adapter(client_id, &row.redirect_uri, request);
    let mut machine = accesstoken::AccessToken::new(&adapter);
    let mut input = accesstoken::Input::None;
    loop {
        input = match machine.advance(input) {
            accesstoken::Output::Authenticate { .. } => accesstoken::Input::Authenticated,
            accesstoken::Output::Recover { .. } => {
                let mut grant = stored(&row.grant, stored_redirect(row)?)?;
                extend_with_challenge(
                    &mut grant.extensions,
                    row.challenge.as_deref(),
                    pkce_required,
                )
                .map_err(|()| invalid_grant("the authorization request had no code_challenge"))?;
                accesstoken::Input::Recovered(Some(Box::new(grant)))
            }
            accesstoken::Output::Extend { extensions } => {
                let challenge = extensions.remove(&pkce);
                pkce.verify(challenge, request.verifier.as_deref().map(Cow::Borrowed))
                    .map_err(|()| {
                        if request.verifier.is_some() {
                            invalid_grant(
                                "code_verifier does not match the code_challenge (RFC 7636 4.6)",
                            )
                        } else {
                            invalid_grant("code_verifier is missing (RFC 7636 4.5)")
                        }
                    })?;
                accesstoken::Input::Extended {
                    access_extensions: Extensions::new(),
                }
            }
            accesstoken::Output::Issue { .. } => return Ok(()),
            accesstoken::Output::Ok(_) | accesstoken::Output::Err(_) => {
                return Err(invalid_grant(
                    "the code was issued to another client or for another redirect_uri",
                ));
            }
        };
    }
}

/// Decides whether `client_id` may refresh the grant, and with which scope: the family's, or a narrower one.
pub fn refresh(grant: &Grant, client_id: &str, asked: Option<&Scope>) -> Result<Scope, Refusal> {
    struct Adapter<'a>(&'a str, Option<String>);
    impl refresh::Request for Adapter<'_> {
        fn valid(&self) -> bool {
            true
        }
        fn refresh_token(&self) -> Option<Cow<'_, str>> {
            // The token itself was looked up by its digest; the machine only needs to know that there is one.
            Some(Cow::Borrowed("presented"))
        }
        fn scope(&self) -> Option<Cow<'_, str>> {
            self.1.as_deref().map(Cow::Borrowed)
        }
        fn grant_type(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed("refresh_token"))
        }
        fn authorization(&self) -> Option<(Cow<'_, str>, Cow<'_, [u8]>)> {
            Some((Cow::Borrowed(self.0), Cow::Borrowed(&[])))
        }
        fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
            None
        }
    }
    let adapter = Adapter(client_id, asked.map(ToString::to_string));
    let scope = || adapter.1.as_deref().map(Cow::Borrowed);
    let mut machine = refresh::Refresh::new(&adapter);
    let mut input = refresh::Input::None;
    loop {
        input = match machine.advance(input) {
            refresh::Output::Unauthenticated { .. } => {
                refresh::Input::Authenticated { scope: scope() }
            }
            refresh::Output::RecoverRefresh { .. } => refresh::Input::Recovered {
                scope: scope(),
                grant: Some(Box::new(stored(grant, unused_url()?.1.clone())?)),
            },
            refresh::Output::Refresh {
                grant: narrowed, ..
            } => return Ok(in_order(&grant.scope, &narrowed.scope)),
            refresh::Output::Ok(_) | refresh::Output::Err(_) => {
                return Err(if grant.client_id == client_id {
                    Refusal::new(
                        Code::InvalidScope,
                        "scope goes beyond what was granted (RFC 6749 6)",
                    )
                } else {
                    invalid_grant("the refresh token was issued to another client")
                });
            }
        };
    }
}

/// Decides the scope of a machine client: what it asks for, within `allowed`; all of it when it asks for nothing.
pub fn client_credentials(
    client_id: &str,
    asked: Option<&Scope>,
    allowed: &Scope,
) -> Result<Scope, Refusal> {
    struct Adapter<'a>(&'a str, Option<String>);
    impl client_credentials::Request for Adapter<'_> {
        fn valid(&self) -> bool {
            true
        }
        fn authorization(&self) -> Option<(Cow<'_, str>, Cow<'_, [u8]>)> {
            Some((Cow::Borrowed(self.0), Cow::Borrowed(&[])))
        }
        fn scope(&self) -> Option<Cow<'_, str>> {
            self.1.as_deref().map(Cow::Borrowed)
        }
        fn grant_type(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed("client_credentials"))
        }
        fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
            None
        }
    }
    let adapter = Adapter(client_id, asked.map(ToString::to_string));
    let mut machine = client_credentials::ClientCredentials::new(&adapter);
    let mut input = client_credentials::Input::None;
    loop {
        input = match machine.advance(input) {
            client_credentials::Output::Authenticate { .. } => {
                client_credentials::Input::Authenticated
            }
            client_credentials::Output::Binding { client_id } => client_credentials::Input::Bound {
                bound_client: BoundClient {
                    client_id: Cow::Owned(client_id.to_owned()),
                    redirect_uri: Cow::Owned(RegisteredUrl::Exact(unused_url()?.0.clone())),
                },
            },
            client_credentials::Output::Extend => client_credentials::Input::Extended {
                extensions: Extensions::new(),
            },
            client_credentials::Output::Negotiate {
                bound_client,
                scope,
            } => {
                let asked = scope.map(|asked| Scope::parse(&asked.to_string()));
                let granted =
                    asked.map_or_else(|| allowed.clone(), |asked| asked.intersect(allowed));
                if granted.is_empty() {
                    return Err(Refusal::new(
                        Code::InvalidScope,
                        "none of the scopes is allowed for this client",
                    )
                    .setting("clients.scope"));
                }
                let granted = granted.to_string().parse().map_err(|_| scope_error())?;
                client_credentials::Input::Negotiated {
                    pre_grant: pre_grant(bound_client, Some(granted)),
                }
            }
            client_credentials::Output::Ok { pre_grant, .. } => {
                return Ok(in_order(allowed, &pre_grant.scope));
            }
            client_credentials::Output::Err(_) => {
                return Err(invalid_request("the request is malformed"));
            }
        };
    }
}

fn pre_grant(bound: &BoundClient<'static>, scope: Option<OxideScope>) -> PreGrant {
    PreGrant {
        client_id: bound.client_id.clone().into_owned(),
        redirect_uri: bound.redirect_uri.clone().into_owned(),
        scope: scope.unwrap_or_else(|| "".parse().unwrap_or_else(|_| unreachable!())),
    }
}

fn extend_with_challenge(
    extensions: &mut Extensions,
    challenge: Option<&str>,
    required: bool,
) -> Result<(), ()> {
    let pkce = if required {
        Pkce::required()
    } else {
        Pkce::optional()
    };
    let method = challenge.map(|_| Cow::Borrowed("S256"));
    if let Some(value) = pkce.challenge(method, challenge.map(Cow::Borrowed))? {
        extensions.set(&pkce, value);
    }
    Ok(())
}

fn stored_redirect(row: &CodeRow) -> Result<Url, Refusal> {
    let parsed = row.redirect_uri.parse();
    parsed.map_err(|_| invalid_grant("the stored redirect_uri is not a URI"))
}

/// Our grant in the machine's terms. The caller has judged lifetimes, so it never ends here.
fn stored(grant: &Grant, redirect_uri: Url) -> Result<Stored, Refusal> {
    Ok(Stored {
        owner_id: grant.subject.clone(),
        client_id: grant.client_id.clone(),
        scope: grant.scope.to_string().parse().map_err(|_| scope_error())?,
        redirect_uri,
        until: DateTime::<Utc>::MAX_UTC,
        extensions: Extensions::new(),
    })
}

/// A redirect URI for the machines whose grants have none, in both of their forms. Parsing it takes longer than what they decide.
fn unused_url() -> Result<&'static (ExactUrl, Url), Refusal> {
    static UNUSED: LazyLock<Option<(ExactUrl, Url)>> = LazyLock::new(|| {
        let exact: ExactUrl = "https://unused.invalid/".parse().ok()?;
        let url = exact.to_url();
        Some((exact, url))
    });
    UNUSED.as_ref().ok_or_else(scope_error)
}

fn scope_error() -> Refusal {
    Refusal::new(Code::InvalidScope, "scope is malformed (RFC 6749 3.3)")
}

/// The machine keeps scopes in a hash set: bring its answer back into our order.
fn in_order(ours: &Scope, theirs: &OxideScope) -> Scope {
    ours.intersect(&Scope::parse(&theirs.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::grant::Terms;
    use crate::protocol::secret::Secret;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn grant() -> Grant {
        Grant {
            id: "g".into(),
            subject: "u".into(),
            client_id: "c".into(),
            scope: Scope::parse("b a offline_access"),
            resources: vec![],
            auth_time: 0,
            amr: vec![],
            sid: "s".into(),
            nonce: None,
            expires_at: 0,
            terms: Terms::default(),
        }
    }

    fn row(challenge: Option<&str>) -> CodeRow {
        CodeRow {
            consent_id: "co".into(),
            grant: grant(),
            redirect_uri: "https://c.example/cb".into(),
            challenge: challenge.map(str::to_owned),
            expires_at: 0,
            used_at: None,
        }
    }

    fn request(verifier: Option<&str>, redirect: Option<&str>) -> CodeRequest {
        CodeRequest {
            code: Secret::presented("x"),
            redirect_uri: redirect.map(str::to_owned),
            verifier: verifier.map(str::to_owned),
            resources: vec![],
            details: None,
        }
    }

    #[test]
    fn a_code_is_redeemed_by_its_client_with_its_verifier_and_redirect_only() {
        let bound = row(Some(CHALLENGE));
        assert!(code(&bound, "c", &request(Some(VERIFIER), None), true).is_ok());
        assert!(
            code(
                &bound,
                "c",
                &request(Some(VERIFIER), Some("https://c.example/cb")),
                true
            )
            .is_ok()
        );
        for (client, verifier, redirect) in [
            ("d", Some(VERIFIER), None),
            ("c", None, None),
            ("c", Some("a".repeat(43)).as_deref(), None),
            ("c", Some(VERIFIER), Some("https://c.example:443/cb")),
            ("c", Some(VERIFIER), Some("https://c.example/x/../cb")),
        ] {
            assert_eq!(
                code(&bound, client, &request(verifier, redirect), true)
                    .unwrap_err()
                    .code,
                Code::InvalidGrant
            );
        }
    }

    #[test]
    fn a_code_without_challenge_needs_a_client_without_pkce_and_no_verifier() {
        assert!(
            code(
                &row(None),
                "c",
                &request(None, Some("https://c.example/cb")),
                false
            )
            .is_ok()
        );
        assert!(code(&row(None), "c", &request(None, None), true).is_err());
        assert!(code(&row(None), "c", &request(Some(VERIFIER), None), false).is_err());
        assert!(code(&row(Some(CHALLENGE)), "c", &request(None, None), false).is_err());
    }

    #[test]
    fn a_refresh_keeps_or_narrows_the_scope_for_its_own_client() {
        assert_eq!(
            refresh(&grant(), "c", None).unwrap().to_string(),
            "b a offline_access"
        );
        assert_eq!(
            refresh(&grant(), "c", Some(&Scope::parse("a")))
                .unwrap()
                .to_string(),
            "a"
        );
        assert_eq!(
            refresh(&grant(), "c", Some(&Scope::parse("a z")))
                .unwrap_err()
                .code,
            Code::InvalidScope
        );
        assert_eq!(
            refresh(&grant(), "d", None).unwrap_err().code,
            Code::InvalidGrant
        );
    }

    #[test]
    fn a_machine_client_gets_what_is_allowed() {
        let allowed = Scope::parse("read write");
        assert_eq!(client_credentials("c", None, &allowed).unwrap(), allowed);
        assert_eq!(
            client_credentials("c", Some(&Scope::parse("write openid")), &allowed)
                .unwrap()
                .to_string(),
            "write"
        );
        assert_eq!(
            client_credentials("c", Some(&Scope::parse("openid")), &allowed)
                .unwrap_err()
                .code,
            Code::InvalidScope
        );
    }
}
