//! The token endpoint's request, one variant per grant, and its answer (RFC 6749 §4.1.3, §4.4.2, §5.1, §6).

use serde::Serialize;

use super::client::GrantType;
use super::details::Details;
use super::exchange::ExchangeRequest;
use super::feature::Features;
use super::params::Params;
use super::pkce;
use super::refusal::{Code, Refusal};
use super::scope::Scope;
use super::secret::Secret;

/// A token request, after client authentication.
#[derive(Clone)]
pub enum TokenRequest {
    /// `grant_type=authorization_code`
    Code(CodeRequest),
    /// `grant_type=refresh_token`
    Refresh(RefreshRequest),
    /// `grant_type=client_credentials`
    ClientCredentials(ClientCredentialsRequest),
    /// `grant_type=urn:ietf:params:oauth:grant-type:device_code`
    Device(PollRequest),
    /// `grant_type=urn:openid:params:grant-type:ciba`
    Backchannel(PollRequest),
    /// `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`
    Exchange(ExchangeRequest),
    /// `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer`
    Bearer(BearerRequest),
}

/// RFC 7523 §2.1. No `Debug`: it holds a token in clear.
#[derive(Clone)]
pub struct BearerRequest {
    /// The JWT.
    pub assertion: String,
    /// Asked scope.
    pub scope: Option<Scope>,
    /// Resource indicators.
    pub resources: Vec<String>,
    /// `authorization_details`, at most what the JWT grants.
    pub details: Option<String>,
}

/// RFC 6749 §4.1.3 with RFC 7636 §4.5.
#[derive(Clone)]
pub struct CodeRequest {
    /// The code.
    pub code: Secret,
    /// Compared by exact text when sent; OAuth 2.1 sends none.
    pub redirect_uri: Option<String>,
    /// PKCE verifier, 43 to 128 characters.
    pub verifier: Option<String>,
    /// Resource indicators, at most what was authorized.
    pub resources: Vec<String>,
    /// `authorization_details`, at most what was granted (RFC 9396 §6).
    pub details: Option<String>,
}

/// RFC 6749 §6.
#[derive(Clone)]
pub struct RefreshRequest {
    /// The refresh token.
    pub token: Secret,
    /// Narrower scope, if asked.
    pub scope: Option<Scope>,
    /// Resource indicators, at most what was authorized.
    pub resources: Vec<String>,
    /// `authorization_details`, at most what was granted (RFC 9396 §6).
    pub details: Option<String>,
}

/// RFC 6749 §4.4.2.
#[derive(Clone)]
pub struct ClientCredentialsRequest {
    /// Asked scope.
    pub scope: Option<Scope>,
    /// Resource indicators.
    pub resources: Vec<String>,
    /// `authorization_details`
    pub details: Option<String>,
}

/// A client asks whether its user has answered (RFC 8628 §3.4, CIBA Core 1.0 §10.1).
#[derive(Clone)]
pub struct PollRequest {
    /// What it was given to poll with.
    pub code: Secret,
    /// Resource indicators, at most what was authorized.
    pub resources: Vec<String>,
    /// `authorization_details`, at most what was granted (RFC 9396 §6).
    pub details: Option<String>,
}

impl TokenRequest {
    /// Reads the request; a repeated parameter, or a grant that is unknown or switched off, is refused.
    pub fn parse(params: &Params, on: Features) -> Result<TokenRequest, Refusal> {
        params.refuse_repeats()?;
        let text = params.need("grant_type")?;
        let scope = params.get("scope").map(Scope::parse);
        let details = params.get("authorization_details").map(str::to_owned);
        let resources: Vec<String> = params.resources().into_iter().map(str::to_owned).collect();
        match GrantType::parse(text).filter(|grant| on.offers(*grant)) {
            Some(GrantType::AuthorizationCode) => {
                let verifier = params.get("code_verifier");
                verifier.map(pkce::check_verifier).transpose()?;
                Ok(TokenRequest::Code(CodeRequest {
                    code: Secret::presented(params.need("code")?),
                    redirect_uri: params.get("redirect_uri").map(str::to_owned),
                    verifier: verifier.map(str::to_owned),
                    resources,
                    details,
                }))
            }
            Some(GrantType::RefreshToken) => Ok(TokenRequest::Refresh(RefreshRequest {
                token: Secret::presented(params.need("refresh_token")?),
                scope,
                resources,
                details,
            })),
            Some(GrantType::ClientCredentials) => {
                Ok(TokenRequest::ClientCredentials(ClientCredentialsRequest {
                    scope,
                    resources,
                    details,
                }))
            }
            Some(GrantType::DeviceCode) => Ok(TokenRequest::Device(PollRequest {
                code: Secret::presented(params.need("device_code")?),
                resources,
                details,
            })),
            Some(GrantType::Backchannel) => Ok(TokenRequest::Backchannel(PollRequest {
                code: Secret::presented(params.need("auth_req_id")?),
                resources,
                details,
            })),
            Some(GrantType::TokenExchange) => {
                Ok(TokenRequest::Exchange(ExchangeRequest::parse(params)?))
            }
            Some(GrantType::JwtBearer) => Ok(TokenRequest::Bearer(BearerRequest {
                assertion: params.need("assertion")?.to_owned(),
                scope,
                resources,
                details,
            })),
            None => {
                let offered = GrantType::ALL.into_iter().filter(|grant| on.offers(*grant));
                let names: Vec<_> = offered.map(GrantType::as_str).collect();
                Err(Refusal::new(
                    Code::UnsupportedGrantType,
                    format!("grant_type must be one of {}", names.join(", ")),
                )
                .setting("features"))
            }
        }
    }

    /// The grant that the client must be allowed to use.
    #[must_use]
    pub fn grant_type(&self) -> GrantType {
        match self {
            TokenRequest::Code(_) => GrantType::AuthorizationCode,
            TokenRequest::Refresh(_) => GrantType::RefreshToken,
            TokenRequest::ClientCredentials(_) => GrantType::ClientCredentials,
            TokenRequest::Device(_) => GrantType::DeviceCode,
            TokenRequest::Backchannel(_) => GrantType::Backchannel,
            TokenRequest::Exchange(_) => GrantType::TokenExchange,
            TokenRequest::Bearer(_) => GrantType::JwtBearer,
        }
    }
}

/// RFC 6749 §5.1 with `id_token` of OIDC Core §3.1.3.3. No `Debug`: it holds tokens in clear.
#[derive(Clone, Serialize)]
pub struct TokenResponse {
    /// A JWT of type `at+jwt` (RFC 9068), or a secret that says nothing where the resource wants that.
    pub access_token: String,
    /// `Bearer`, or `DPoP` for a token that is bound to a key.
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    /// Granted scope.
    pub scope: Scope,
    /// Next refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// For `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// RFC 8693 §2.2.1
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<&'static str>,
    /// RFC 9396 §7
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Details,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<TokenRequest, Refusal> {
        let on = Features::default();
        TokenRequest::parse(&Params::from_form(body.as_bytes()).unwrap(), on)
    }

    #[test]
    fn each_grant_names_what_is_missing() {
        for (body, code, says) in [
            ("", Code::InvalidRequest, "grant_type is missing"),
            (
                "grant_type=password",
                Code::UnsupportedGrantType,
                "grant_type must be",
            ),
            (
                "grant_type=authorization_code",
                Code::InvalidRequest,
                "code is missing",
            ),
            (
                "grant_type=authorization_code&code=a&code=b",
                Code::InvalidRequest,
                "code stands more than once",
            ),
            (
                "grant_type=authorization_code&code=a&code_verifier=short",
                Code::InvalidGrant,
                "code_verifier must be",
            ),
            (
                "grant_type=refresh_token",
                Code::InvalidRequest,
                "refresh_token is missing",
            ),
        ] {
            let Err(refusal) = parse(body) else {
                panic!("{body}")
            };
            assert_eq!(refusal.code, code, "{body}");
            assert!(
                refusal.description.starts_with(says),
                "{}",
                refusal.description
            );
        }
    }

    #[test]
    fn several_resources_are_read_in_order() {
        let Ok(TokenRequest::ClientCredentials(request)) =
            parse("grant_type=client_credentials&resource=b&resource=a")
        else {
            panic!()
        };
        assert_eq!(request.resources, ["b", "a"]);
    }
}
