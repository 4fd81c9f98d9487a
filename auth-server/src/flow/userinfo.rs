//! UserInfo (OIDC Core §5.3): the user's claims that the token's scope opens.

use serde_json::{Map, Value};

use super::{Result, Server, introspect};
use crate::protocol::claims;
use crate::protocol::refusal::{Code, Refusal};
use crate::protocol::scope::Scope;

/// The claims behind an access token with scope `openid`.
pub async fn claims(server: &Server, token: &str) -> Result<Map<String, Value>> {
    let invalid = || {
        Refusal::new(
            Code::InvalidToken,
            "the access token is invalid, expired or revoked",
        )
    };
    let Some(living) = introspect::living(server, token).await? else {
        return Err(invalid().into());
    };
    // The token's own scope counts: it may be narrower than the grant's.
    let scope = Scope::parse(
        living
            .claims
            .get("scope")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    );
    let Some(grant) = living.grant.filter(|_| scope.has("openid")) else {
        return Err(Refusal::new(
            Code::InsufficientScope,
            "the access token lacks the scope openid",
        )
        .into());
    };
    let Some(user) = server.store.user(&grant.subject).await? else {
        return Err(invalid().into());
    };
    Ok(claims::userinfo(&user.id, &user.all_claims(), &scope))
}
