//! UserInfo (OIDC Core §5.3): the user's claims that the token's scope opens, signed when the client asked for that.

use serde_json::{Map, Value, json};

use super::sender::{self, AccessToken};
use super::{Result, Server, clients, introspect, seal};
use crate::protocol::claims;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;

/// The answer (OIDC Core §5.3.2).
pub enum UserInfo {
    /// As JSON.
    Plain(Map<String, Value>),
    /// Signed, with `iss` and `aud`, encrypted, or both.
    Jwt(String),
}

/// The claims behind an access token with scope `openid`.
#[tracing::instrument(target = "otel", name = "flow.userinfo", skip_all)]
pub async fn claims(server: &Server, token: &AccessToken) -> Result<UserInfo> {
    let invalid = || {
        Refusal::new(
            Code::InvalidToken,
            "the access token is invalid, expired or revoked",
        )
    };
    let Some(living) = introspect::living(server, &token.text).await? else {
        return Err(invalid().into());
    };
    sender::holds_key(server, token, &living.claims).await?;
    // The token's own scope counts: it may be narrower than the grant's.
    let scope = Scope::parse(
        living
            .claims
            .get("scope")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    );
    let Some((grant, _)) = living.grant.filter(|_| scope.has("openid")) else {
        return Err(Refusal::new(
            Code::InsufficientScope,
            "the access token lacks the scope openid",
        )
        .into());
    };
    let client = clients::last_known(server, &grant.client_id).await?;
    let is_public = client.as_ref().is_none_or(|client| client.is_public());
    let limits = &server.limits;
    limits.bearer(&grant.client_id, is_public, &grant.subject, server.now())?;
    let Some(user) = server.store.user(&grant.subject).await? else {
        return Err(invalid().into());
    };
    // Who the user is to this client: as the token says.
    let subject = living.claims.get("sub").and_then(Value::as_str);
    let mut claims = claims::userinfo(
        subject.unwrap_or(&user.id),
        &user.all_claims(),
        &scope,
        &grant.terms.claims.userinfo,
    );
    let Some(client) = client else {
        return Ok(UserInfo::Plain(claims));
    };
    let how = client.userinfo_encryption();
    let Some(alg) = client.userinfo_alg() else {
        return Ok(match how {
            Some(how) => UserInfo::Jwt(seal::unsigned(server, &client, how, &claims).await?),
            None => UserInfo::Plain(claims),
        });
    };
    claims.insert("iss".into(), json!(server.config.issuer.as_str()));
    claims.insert("aud".into(), json!(client.id));
    let signer = server.keys.signer(alg, server.now())?;
    // A type of its own: a verifier of ID tokens must not take it for one.
    let answer = signer.sign("userinfo+jwt", &claims)?;
    Ok(UserInfo::Jwt(
        seal::signed(server, &client, how, answer).await?,
    ))
}
