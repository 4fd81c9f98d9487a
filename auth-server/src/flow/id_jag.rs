//! Identity assertions for other authorization servers (draft-ietf-oauth-identity-assertion-authz-grant, rule A-91): as
//! identity provider we make one for a client that holds the user's ID token.

use serde_json::{Map, Value, json};

use super::client_auth::Authenticated;
use super::exchange::{self, Kept, Subject};
use super::{Result, Server};
use crate::protocol::confirmation::Confirmation;
use crate::protocol::exchange::{ExchangeRequest, Policy, TokenType, not_allowed};
use crate::protocol::jwt::Alg;
use crate::protocol::refusal::{Code, Refusal, invalid_request};
use crate::protocol::scope::Scope;
use crate::protocol::token::TokenResponse;
use crate::protocol::trusted::ID_JAG;

/// How long one lives, in seconds: it is used at once.
const LIFETIME: i64 = 300;
/// Claims of the ID token that stand in the assertion, too.
const KEPT: [&str; 3] = ["auth_time", "acr", "amr"];
/// Claims by which the other server may know the user, when the client may read them.
const EMAIL: [&str; 2] = ["email", "email_verified"];

/// An identity assertion for the authorization server that the request names.
pub(super) async fn issue(
    server: &Server,
    asker: &Authenticated,
    policy: &Policy,
    request: &ExchangeRequest,
    subject: &Subject,
) -> Result<TokenResponse> {
    if !server.config.features.id_jag {
        return Err(invalid_request("requested_token_type is not supported")
            .setting("features.id_jag")
            .into());
    }
    let own = subject.text("aud") == asker.client.id;
    if request.subject.kind != TokenType::Id || !own || request.actor.is_some() {
        let why = "an identity assertion is given for an ID token of the client itself";
        return Err(invalid_request(why).into());
    }
    let [audience] = &request.audiences[..] else {
        return Err(invalid_request("audience must name one authorization server").into());
    };
    let Some(partner) = policy.id_jag.get(audience) else {
        let why = "this client may get no identity assertion for that authorization server";
        return Err(not_allowed(why).into());
    };
    if request.resources.len() > 1 {
        let why = "an identity assertion is for one resource at a time";
        return Err(Refusal::new(Code::InvalidTarget, why).into());
    }
    let resource = partner.resource(request.resources.first().map(String::as_str))?;
    let scope = partner.scope(request.scope.as_ref())?;
    let now = server.now();
    let mut claims = Map::new();
    for name in KEPT {
        if let Some(value) = subject.claims.get(name) {
            claims.insert(name.to_owned(), value.clone());
        }
    }
    claims.extend(email(server, subject).await?);
    if let Some(key @ Confirmation::Key(_)) = &asker.confirmation {
        // The proof of this request binds what comes of it.
        claims.insert("cnf".to_owned(), json!(key));
    }
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", json!(server.config.issuer.as_str()));
    put("sub", json!(subject.text("sub")));
    put("aud", json!(audience));
    put("client_id", json!(partner.client_id()));
    put("jti", json!(server.fresh_id("")));
    put("iat", json!(now));
    put("exp", json!(now + LIFETIME));
    if let Some(resource) = resource {
        put("resource", json!(resource));
    }
    if !scope.is_empty() {
        put("scope", json!(scope));
    }
    let alg = Alg::preferred(Alg::Es256, &server.config.algorithms);
    let assertion = server.keys.signer(alg, now)?.sign(ID_JAG, &claims)?;
    exchange::keep(server, asker, subject, Scope::default(), Kept::default()).await?;
    Ok(TokenResponse {
        access_token: assertion,
        // RFC 8693 §2.2.1: it is no access token.
        token_type: "N_A",
        expires_in: LIFETIME,
        scope,
        refresh_token: None,
        id_token: None,
        issued_token_type: Some(TokenType::IdJag.as_str()),
        authorization_details: vec![],
    })
}

/// The user's address, when the scope `email` opens it to the client or it stands in the client's ID token.
async fn email(server: &Server, subject: &Subject) -> Result<Map<String, Value>> {
    let grant = subject.grant.as_ref();
    let user = match grant.filter(|grant| grant.scope.has("email")) {
        Some(grant) => server.store.user(&grant.subject).await?,
        None => None,
    };
    // Never the one of here and the other of there.
    let known = user.as_ref().map_or(&subject.claims, |user| &user.claims);
    let found = EMAIL.into_iter().filter_map(|name| {
        let value = known.get(name)?.clone();
        Some((name.to_owned(), value))
    });
    Ok(found.collect())
}
