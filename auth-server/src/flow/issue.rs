//! Making tokens: audience, lifetime, claims, signature. Nothing is written here; the callers do that in the
//! transaction of their claim.

use super::{Result, Server};
use crate::protocol::claims::{self, AccessToken};
use crate::protocol::client::Client;
use crate::protocol::grant::Grant;
use crate::protocol::jwt::Alg;
use crate::protocol::scope::Scope;
use crate::protocol::token::TokenResponse;

/// Header `typ` of access tokens (RFC 9068 §2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";
/// Header `typ` of ID tokens.
pub const ID_TOKEN: &str = "JWT";

/// The first tokens of a user's grant, narrowed to `scope` and `resources`.
pub fn for_user(
    server: &Server,
    client: &Client,
    grant: &Grant,
    scope: &Scope,
    resources: &[String],
    now: i64,
) -> Result<TokenResponse> {
    tokens(
        server,
        client,
        grant,
        scope,
        resources,
        grant.nonce.as_deref(),
        now,
    )
}

/// Further tokens of a grant: as [`for_user`], but without the nonce of the first request (OIDC Core §12.2).
pub fn again(
    server: &Server,
    client: &Client,
    grant: &Grant,
    scope: &Scope,
    resources: &[String],
    now: i64,
) -> Result<TokenResponse> {
    tokens(server, client, grant, scope, resources, None, now)
}

fn tokens(
    server: &Server,
    client: &Client,
    grant: &Grant,
    scope: &Scope,
    resources: &[String],
    nonce: Option<&str>,
    now: i64,
) -> Result<TokenResponse> {
    let mut response = access_token(
        server,
        client,
        &grant.subject,
        scope,
        resources,
        Some(grant),
        now,
    )?;
    if scope.has("openid") {
        let (issuer, lifetime) = (server.config.issuer.as_str(), server.config.tokens.id);
        let claims = claims::id_token(issuer, grant, &response.access_token, nonce, now, lifetime);
        let signer = server.keys.signer(client.id_token_alg(), now)?;
        response.id_token = Some(signer.sign(ID_TOKEN, &claims)?);
    }
    Ok(response)
}

/// A token for the client itself.
pub fn for_machine(
    server: &Server,
    client: &Client,
    scope: &Scope,
    resources: &[String],
    now: i64,
) -> Result<TokenResponse> {
    access_token(server, client, &client.id, scope, resources, None, now)
}

fn access_token(
    server: &Server,
    client: &Client,
    subject: &str,
    scope: &Scope,
    resources: &[String],
    grant: Option<&Grant>,
    now: i64,
) -> Result<TokenResponse> {
    let mut audience = resources.to_vec();
    // UserInfo is ours: a token that may ask there names us, and so does one for nothing else (rule A-27).
    if scope.has("openid") || audience.is_empty() {
        audience.push(server.config.issuer.as_str().to_owned());
    }
    let lifetime = lifetime(server, resources);
    // The grant's id in `jti` lets introspection and UserInfo see that the family was revoked.
    let unique = server.fresh_id("");
    let token = AccessToken {
        issuer: server.config.issuer.as_str(),
        subject,
        audience,
        client_id: &client.id,
        scope,
        jti: grant.map_or_else(|| unique.clone(), |grant| format!("{}.{unique}", grant.id)),
        now,
        lifetime,
        grant,
    };
    Ok(TokenResponse {
        access_token: server
            .keys
            .signer(Alg::Es256, now)?
            .sign(ACCESS_TOKEN, &token.claims())?,
        token_type: "Bearer",
        expires_in: lifetime,
        scope: scope.clone(),
        refresh_token: None,
        id_token: None,
    })
}

/// The shortest life that one of the resources asks for, else the server's.
fn lifetime(server: &Server, resources: &[String]) -> i64 {
    let registered = server.resources();
    let own = registered
        .iter()
        .filter(|resource| resources.contains(&resource.id))
        .filter_map(|resource| resource.access_lifetime);
    own.min().unwrap_or(server.config.tokens.access)
}
