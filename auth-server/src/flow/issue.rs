//! Making tokens: audience, lifetime, claims, signature. Nothing is written here; the callers do that in the
//! transaction of their claim.

use serde_json::{Map, Value};

use super::client_auth::Authenticated;
use super::{Error, Result, Server, seal};
use crate::protocol::claims::{AccessToken, Beside, IdToken};
use crate::protocol::client::{Client, GrantType};
use crate::protocol::confirmation::Confirmation;
use crate::protocol::details::Details;
use crate::protocol::grant::Grant;
use crate::protocol::jwt::Alg;
use crate::protocol::refusal::{Code, Refusal, invalid_grant};
use crate::protocol::resource::{self, Form, Resource};
use crate::protocol::scope::Scope;
use crate::protocol::secret::{Kind, Secret};
use crate::protocol::subject;
use crate::protocol::token::TokenResponse;
use crate::store::{OpaqueToken, RefreshToken, Tokens, User};

/// Header `typ` of access tokens (RFC 9068 §2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";
/// Header `typ` of ID tokens.
pub const ID_TOKEN: &str = "JWT";

/// Stands in `jti` between that of the subject token and what is new, so that each exchanged token names those it came from.
pub const EXCHANGED: char = '~';

/// What a user's tokens are made from.
pub struct Order<'a> {
    /// Who gets them.
    pub asker: &'a Authenticated,
    /// What they stand for.
    pub grant: &'a Grant,
    /// Narrowed scope.
    pub scope: &'a Scope,
    /// Narrowed resources.
    pub resources: &'a [String],
    /// The nonce of the request, in the first ID token only (OIDC Core §12.2).
    pub nonce: Option<&'a str>,
    /// The user's claims, for what the grant asks of the ID token.
    pub user: &'a Map<String, Value>,
    /// Unix seconds.
    pub now: i64,
}

/// Tokens that were made, and what has to be kept of them in the transaction of their claim.
pub struct Issued {
    /// What the client gets.
    pub response: TokenResponse,
    /// What has to be kept.
    pub tokens: Tokens,
}

/// Tokens of a user's grant; no refresh token yet.
pub async fn for_user(server: &Server, order: &Order<'_>) -> Result<Issued> {
    let Order {
        asker,
        grant,
        scope,
        now,
        ..
    } = *order;
    let client = &asker.client;
    if !subject::lasts(client, grant) {
        let why = "the client has other subjects than when the user allowed it; ask the user again";
        return Err(invalid_grant(why).into());
    }
    let subject = server.subject(client, &grant.subject);
    let token = Access {
        subject: &subject,
        scope,
        resources: order.resources,
        grant: Some(grant),
        from: None,
        details: grant.terms.details.clone(),
        act: None,
        until: i64::MAX,
    };
    let mut issued = access_token(server, asker, token, now)?;
    if scope.has("openid") {
        let beside = Beside {
            access_token: Some(&issued.response.access_token),
            ..Beside::default()
        };
        let made = id_token(server, client, grant, beside, order.nonce, order.user, now);
        issued.response.id_token = Some(made.await?);
    }
    Ok(issued)
}

/// An ID token of a grant, for the client that gets it; encrypted when the client registered that.
pub async fn id_token(
    server: &Server,
    client: &Client,
    grant: &Grant,
    beside: Beside<'_>,
    nonce: Option<&str>,
    user: &Map<String, Value>,
    now: i64,
) -> Result<String> {
    let alg = client.id_token_alg(&server.config.algorithms);
    let lifetime = client.metadata.id_token_lifetime;
    let token = IdToken {
        issuer: server.config.issuer.as_str(),
        subject: &server.subject(client, &grant.subject),
        grant,
        beside,
        alg,
        nonce,
        user,
        now,
        lifetime: lifetime.unwrap_or(server.config.tokens.id),
    };
    let signed = server
        .keys
        .signer(alg, now)?
        .sign(ID_TOKEN, &token.claims())?;
    seal::signed(server, client, client.id_token_encryption(), signed).await
}

/// The refusal of a grant whose user is there no more.
pub(super) fn no_user() -> Error {
    invalid_grant("the user was disabled").into()
}

/// The first tokens of a grant: for all of it or the `requested` resources, and with the refresh token that begins its
/// family, where the client gets one.
pub async fn first(
    server: &Server,
    asker: &Authenticated,
    user: &User,
    grant: &Grant,
    requested: &[String],
    now: i64,
) -> Result<Issued> {
    if user.disabled_at.is_some() {
        return Err(no_user());
    }
    let requested: Vec<&str> = requested.iter().map(String::as_str).collect();
    let registered = server.resources();
    let resources = resource::narrow(&registered, &grant.resources, &requested)?;
    let scope = grant
        .scope
        .intersect(&resource::known_scope(&registered, &resources));
    let order = Order {
        asker,
        grant,
        scope: &scope,
        resources: &resources,
        nonce: grant.nonce.as_deref(),
        user: &user.all_claims(),
        now,
    };
    let mut issued = for_user(server, &order).await?;
    if !grant.refreshes(asker.client.may(GrantType::RefreshToken)) {
        return Ok(issued);
    }
    let token = Secret::mint(Kind::Refresh, server.effects.fresh());
    issued.response.refresh_token = Some(token.reveal().to_owned());
    issued.tokens.refresh = Some(RefreshToken {
        digest: token.digest().as_str().to_owned(),
        successor: token
            .successor(&server.derivation)
            .digest()
            .as_str()
            .to_owned(),
        grant_id: grant.id.clone(),
        created_at: now,
        expires_at: (now + server.config.tokens.refresh_idle).min(grant.expires_at),
    });
    Ok(issued)
}

/// What one access token is made from.
pub struct Access<'a> {
    /// `sub`
    pub subject: &'a str,
    /// Narrowed scope.
    pub scope: &'a Scope,
    /// Narrowed resources.
    pub resources: &'a [String],
    /// The user's grant: what revokes it revokes the token.
    pub grant: Option<&'a Grant>,
    /// `jti` of the access token that it was exchanged for: what revokes that one revokes it, too.
    pub from: Option<&'a str>,
    /// What it allows beyond scopes (RFC 9396).
    pub details: Details,
    /// Who acts for the subject (RFC 8693 §4.1).
    pub act: Option<Value>,
    /// It lives no longer than this, unix seconds.
    pub until: i64,
}

/// One access token.
pub fn access_token(
    server: &Server,
    asker: &Authenticated,
    order: Access<'_>,
    now: i64,
) -> Result<Issued> {
    let Access {
        subject,
        scope,
        resources,
        grant,
        from,
        details,
        act,
        until,
    } = order;
    let ids = resources.iter().map(String::as_str);
    asker.client.check_resources(ids)?;
    let mut audience = resources.to_vec();
    // UserInfo is ours: a token that may ask there names us, and so does one for nothing else (rule A-27).
    if scope.has("openid") || audience.is_empty() {
        audience.push(server.config.issuer.as_str().to_owned());
    }
    let lifetime = lifetime(server, &asker.client, resources).min(until - now);
    // What stands before it in `jti` lets introspection and UserInfo see that the family, or a token on the way, was revoked.
    let unique = server.fresh_id("");
    let token = AccessToken {
        issuer: server.config.issuer.as_str(),
        subject,
        audience,
        client_id: &asker.client.id,
        scope,
        jti: match (from, grant) {
            (Some(from), _) => format!("{from}{EXCHANGED}{unique}"),
            (None, Some(grant)) => format!("{}.{unique}", grant.id),
            (None, None) => unique,
        },
        now,
        lifetime,
        grant,
        details: &details,
        confirmation: asker.confirmation.as_ref(),
    };
    let mut claims = token.claims();
    if let Some(act) = act {
        claims.insert("act".into(), act);
    }
    let (access_token, opaque) = match form(server, resources)? {
        (Form::Jwt, alg) => {
            let signer = server.keys.signer(alg, now)?;
            (signer.sign(ACCESS_TOKEN, &claims)?, None)
        }
        (Form::Opaque, _) => {
            let secret = Secret::mint(Kind::Access, server.effects.fresh());
            let row = OpaqueToken {
                digest: secret.digest().as_str().to_owned(),
                claims,
                expires_at: now + lifetime,
            };
            (secret.reveal().to_owned(), Some(row))
        }
    };
    let response = TokenResponse {
        access_token,
        token_type: Confirmation::token_type(asker.confirmation.as_ref()),
        expires_in: lifetime,
        scope: scope.clone(),
        refresh_token: None,
        id_token: None,
        issued_token_type: None,
        authorization_details: details,
    };
    let refresh = None;
    Ok(Issued {
        response,
        tokens: Tokens { refresh, opaque },
    })
}

/// What the resources ask for: a JWT, signed with ES256 because that is short and quick to make, unless they say otherwise.
/// One token cannot be two things.
fn form(server: &Server, resources: &[String]) -> Result<(Form, Alg)> {
    let usual = Alg::preferred(Alg::Es256, &server.config.algorithms);
    let registered = server.resources();
    let mut wanted = named(&registered, resources).map(|resource| {
        let alg = resource.signing_alg.unwrap_or(usual);
        (resource.access_token, alg)
    });
    let first = wanted.next().unwrap_or((Form::Jwt, usual));
    if wanted.all(|other| other == first) {
        return Ok(first);
    }
    let why = "these resources take different kinds of access tokens; ask for one at a time";
    Err(Refusal::new(Code::InvalidTarget, why)
        .setting("resources.access_token")
        .into())
}

/// The shortest life that one of the resources or the client's policy asks for, else the server's.
fn lifetime(server: &Server, client: &Client, resources: &[String]) -> i64 {
    let registered = server.resources();
    let own = named(&registered, resources).filter_map(|resource| resource.access_lifetime);
    let shortest = own.chain(client.metadata.access_token_lifetime).min();
    shortest.unwrap_or(server.config.tokens.access)
}

fn named<'a>(registered: &'a [Resource], ids: &'a [String]) -> impl Iterator<Item = &'a Resource> {
    registered
        .iter()
        .filter(|resource| ids.contains(&resource.id))
}
