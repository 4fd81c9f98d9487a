//! Introspection (RFC 7662): what a token is worth now, for clients that authenticate. A client that the operator
//! vouches for may ask about any token, every other one about its own.

use serde_json::{Map, Value, json};

use super::{Result, Server, clients, issue, seal};
use crate::protocol::client::Client;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::grant::{Grant, Standing};
use crate::protocol::jwt;
use crate::protocol::refusal::invalid_client;
use crate::protocol::scope::Scope;
use crate::protocol::secret::{Kind, Secret};
use crate::protocol::subject;
use crate::store::Purpose;

/// Header `typ` of answers as JWTs, and with `application/` before it their media type (RFC 9701 §5).
pub const SIGNED: &str = "token-introspection+jwt";

/// The answer; `{"active": false}` for whatever the caller may not know.
#[tracing::instrument(target = "otel", name = "flow.introspect", skip_all)]
pub async fn inspect(server: &Server, caller: &Client, token: &str) -> Result<Value> {
    if caller.is_public() {
        return Err(invalid_client(
            "introspection needs a client that authenticates (RFC 7662 2.1)",
        )
        .into());
    }
    let found = match access_token(server, caller, token).await? {
        Some(found) => Some(found),
        None => refresh_token(server, token).await?,
    };
    let may_know =
        |answer: &Value| caller.origin.is_operators() || answer["client_id"] == json!(caller.id);
    Ok(found
        .filter(may_know)
        .unwrap_or_else(|| json!({"active": false})))
}

/// The answer as a JWT for the caller alone (RFC 9701 §5), encrypted when it registered that.
pub async fn signed(server: &Server, caller: &Client, answer: Value) -> Result<String> {
    let now = server.now();
    let claims = json!({
        "iss": server.config.issuer.as_str(), "aud": caller.id, "iat": now, "token_introspection": answer,
    });
    let Value::Object(claims) = claims else {
        unreachable!("an object was written")
    };
    let alg = caller.introspection_alg(&server.config.algorithms);
    let token = server.keys.signer(alg, now)?.sign(SIGNED, &claims)?;
    seal::signed(server, caller, caller.introspection_encryption(), token).await
}

async fn access_token(server: &Server, caller: &Client, token: &str) -> Result<Option<Value>> {
    let Some(living) = living(server, token).await? else {
        return Ok(None);
    };
    let mut answer = living.claims;
    answer.insert("active".into(), json!(true));
    let kind = Confirmation::token_type(Confirmation::of(&answer).as_ref());
    answer.insert("token_type".into(), json!(kind));
    if let Some((_, username)) = living.grant
        && may_name(caller, &answer)
    {
        answer.insert("username".into(), json!(username));
    }
    Ok(Some(Value::Object(answer)))
}

/// True when the answer may hold the name that the user signs in with. A client that nobody vouched for learns it by the scope
/// `profile` alone, and never beside a subject that no two sectors can compare (RFC 7662 §5).
fn may_name(caller: &Client, claims: &Map<String, Value>) -> bool {
    let scope = claims.get("scope").and_then(Value::as_str);
    let opened = || Scope::parse(scope.unwrap_or_default()).has("profile");
    caller.origin.is_operators() || (caller.sector().is_none() && opened())
}

async fn refresh_token(server: &Server, token: &str) -> Result<Option<Value>> {
    let row = server
        .store
        .refresh_token(Secret::presented(token).digest().as_str())
        .await?;
    let Some(row) = row.filter(|row| row.standing(server.now()) == Standing::Good) else {
        return Ok(None);
    };
    let client = clients::last_known(server, &row.grant.client_id).await?;
    if client
        .as_ref()
        .is_some_and(|client| !subject::lasts(client, &row.grant))
    {
        return Ok(None);
    }
    let subject = client.map(|client| server.subject(&client, &row.grant.subject));
    Ok(Some(json!({
        "active": true, "iss": server.config.issuer.as_str(), "sub": subject, "client_id": row.grant.client_id,
        "scope": row.grant.scope, "exp": row.expires_at, "token_type": "refresh_token",
    })))
}

/// An access token of ours that is neither expired nor revoked.
pub struct Living {
    /// Its claims.
    pub claims: Map<String, Value>,
    /// The user's grant and name; `None` for a machine's token.
    pub grant: Option<(Grant, String)>,
}

/// Verifies an access token of ours, with its grant in the store.
pub async fn living(server: &Server, token: &str) -> Result<Option<Living>> {
    let now = server.now();
    let claims = if Kind::Access.begins(token) {
        let digest = Secret::presented(token).digest();
        server.store.access_token(digest.as_str(), now).await?
    } else {
        server.keys.verify(token, issue::ACCESS_TOKEN)
    };
    let Some(claims) = claims else {
        return Ok(None);
    };
    let text = |name| claims.get(name).and_then(Value::as_str);
    let in_time = jwt::seconds(&claims, "exp").is_some_and(|exp| exp > now);
    let Some(jti) =
        text("jti").filter(|_| in_time && text("iss") == Some(server.config.issuer.as_str()))
    else {
        return Ok(None);
    };
    // What it was exchanged for stands before each mark.
    for (end, _) in jti.match_indices(issue::EXCHANGED) {
        if server.store.is_seen(Purpose::Revoked, &jti[..end]).await? {
            return Ok(None);
        }
    }
    // The grant's id stands before the dot.
    let grant = if jti.contains('.') {
        let Some(grant) = server.store.living_grant(jti, now).await? else {
            return Ok(None);
        };
        Some(grant)
    } else if server.store.is_seen(Purpose::Revoked, jti).await?
        || is_of_nobody(server, text("client_id")).await?
    {
        return Ok(None);
    } else {
        None
    };
    Ok(Some(Living { claims, grant }))
}

/// True when the client of a machine's token was deleted: it has no grant that could have ended with it.
async fn is_of_nobody(server: &Server, client_id: Option<&str>) -> Result<bool> {
    match client_id {
        Some(id) => Ok(clients::last_known(server, id).await?.is_none()),
        None => Ok(true),
    }
}
