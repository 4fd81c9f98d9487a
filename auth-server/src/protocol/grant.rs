//! A grant: who allowed what to whom, and until when. Codes and refresh tokens point to one; its id is the family
//! that replay detection revokes.

use serde::{Deserialize, Serialize};

use super::claims_request::ClaimsRequest;
use super::confirmation::Confirmation;
use super::details::Details;
use super::scope::Scope;

/// What a user allowed a client to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The family of every token that comes from this grant.
    pub id: String,
    /// `sub`
    pub subject: String,
    /// The client that may use it.
    pub client_id: String,
    /// Allowed scope.
    pub scope: Scope,
    /// Allowed resources, in registered spelling.
    pub resources: Vec<String>,
    /// When the user signed in, unix seconds.
    pub auth_time: i64,
    /// How the user signed in (RFC 8176).
    pub amr: Vec<String>,
    /// Public id of the browser session (`sid`).
    pub sid: String,
    /// OIDC `nonce` of the request.
    pub nonce: Option<String>,
    /// End of life of the whole family, unix seconds. Rotation keeps it (rule A-48).
    pub expires_at: i64,
    /// What it says beside.
    #[serde(default)]
    pub terms: Terms,
}

/// What few grants say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Single claims that the client asked for (OIDC Core §5.5).
    #[serde(skip_serializing_if = "ClaimsRequest::is_empty")]
    pub claims: ClaimsRequest,
    /// Which level of authentication the sign-in reached (`acr`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The key that alone may use what comes of the grant: of a code, the one that the request named (`dpop_jkt`); of a
    /// refresh token, the one to which a public client's first tokens were bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// What the user allowed beyond scopes (RFC 9396).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Details,
    /// The sector under which the client knows the user (OIDC Core §8.1); `None` with public subjects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sector: Option<String>,
}

impl Grant {
    /// True when the grant gives a refresh token: the scope was allowed, or the client declares the grant (rule A-49).
    #[must_use]
    pub fn refreshes(&self, client_declares: bool) -> bool {
        client_declares || self.scope.has("offline_access")
    }
}

/// A code that was issued and not yet forgotten.
#[derive(Clone, Debug)]
pub struct CodeRow {
    /// The remembered consent that it came from; without it the code is worth nothing.
    pub consent_id: String,
    /// What it stands for.
    pub grant: Grant,
    /// The redirect URI of the authorization request.
    pub redirect_uri: String,
    /// S256 challenge, absent only for a confidential client whose policy allows it.
    pub challenge: Option<String>,
    /// Unix seconds.
    pub expires_at: i64,
    /// When it was redeemed.
    pub used_at: Option<i64>,
}

/// A refresh token with its grant.
#[derive(Clone, Debug)]
pub struct RefreshRow {
    /// What it stands for; its `scope` and `resources` are those of the family.
    pub grant: Grant,
    /// Unix seconds.
    pub expires_at: i64,
    /// When its successor was first made.
    pub rotated_at: Option<i64>,
    /// True when the successor was itself rotated, which ends the grace of this one.
    pub successor_used: bool,
    /// When the family was revoked.
    pub revoked_at: Option<i64>,
    /// True when the user was disabled or deleted.
    pub subject_gone: bool,
}

/// How long a consumed refresh token answers again with the same successor, in seconds (rule A-47).
pub const GRACE: i64 = 60;

/// What a refresh token is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be used.
    Good,
    /// It was used before, beyond the grace: the family must die.
    Replayed,
    /// Expired, revoked, or its user is gone.
    Dead(&'static str),
}

impl RefreshRow {
    /// Judges the token at `now`.
    #[must_use]
    pub fn standing(&self, now: i64) -> Standing {
        if self.revoked_at.is_some() {
            return Standing::Dead("the grant was revoked");
        }
        if self.subject_gone {
            return Standing::Dead("the user was disabled");
        }
        if now >= self.expires_at || now >= self.grant.expires_at {
            return Standing::Dead("the refresh token has expired");
        }
        match self.rotated_at {
            Some(at) if self.successor_used || now - at > GRACE => Standing::Replayed,
            _ => Standing::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> RefreshRow {
        RefreshRow {
            grant: Grant {
                id: "g".into(),
                subject: "u".into(),
                client_id: "c".into(),
                scope: Scope::default(),
                resources: vec![],
                auth_time: 0,
                amr: vec![],
                sid: "s".into(),
                nonce: None,
                expires_at: 1000,
                terms: Terms::default(),
            },
            expires_at: 500,
            rotated_at: None,
            successor_used: false,
            revoked_at: None,
            subject_gone: false,
        }
    }

    #[test]
    fn a_rotated_token_has_grace_until_its_successor_is_used_or_a_minute_passed() {
        let rotated = RefreshRow {
            rotated_at: Some(100),
            ..row()
        };
        assert_eq!(row().standing(100), Standing::Good);
        assert_eq!(rotated.standing(160), Standing::Good);
        assert_eq!(rotated.standing(161), Standing::Replayed);
        assert_eq!(
            RefreshRow {
                successor_used: true,
                ..rotated
            }
            .standing(101),
            Standing::Replayed
        );
    }

    #[test]
    fn an_expired_or_revoked_token_is_dead_even_if_it_was_replayed() {
        assert!(matches!(row().standing(500), Standing::Dead(_)));
        assert!(matches!(
            RefreshRow {
                expires_at: 5000,
                ..row()
            }
            .standing(1000),
            Standing::Dead(_)
        ));
        assert!(matches!(
            RefreshRow {
                revoked_at: Some(1),
                rotated_at: Some(1),
                ..row()
            }
            .standing(400),
            Standing::Dead(_)
        ));
        assert!(matches!(
            RefreshRow {
                subject_gone: true,
                ..row()
            }
            .standing(1),
            Standing::Dead(_)
        ));
    }
}
