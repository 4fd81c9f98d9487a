//! The few words of an event, beside its kind, outcome and ids.

use std::borrow::Cow;
use std::fmt;

use super::{Artefact, Deed, Event, Limit};

/// Longest reason or name that is kept, in characters: some of it was sent by strangers.
const LONGEST: usize = 200;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::SignIn { .. } => f.write_str("password"),
            Event::SignInRefused { .. } => f.write_str("wrong user name or password"),
            Event::SignInThrottled { by, .. } => f.write_str(match by {
                Limit::Account => "too many attempts for this user",
                Limit::Address => "too many attempts from this network",
            }),
            Event::SignOut { .. }
            | Event::LogoutNotice { .. }
            | Event::ApprovalAsked { .. }
            | Event::Ping { .. }
            | Event::Disconnect { .. }
            | Event::ClientChanged { .. }
            | Event::ClientDeleted { .. } => Ok(()),
            Event::Consent { scope, .. } => write!(f, "allowed {scope}"),
            Event::ConsentRefused { .. } => f.write_str("the user declined"),
            Event::ApprovalThrottled { .. } => f.write_str("too many requests before"),
            Event::UserCodeRefused { .. } => f.write_str("no device shows this code"),
            Event::UserCodeThrottled { .. } => f.write_str("too many wrong codes"),
            Event::TokensIssued {
                grant_type,
                grant,
                scope,
                ..
            } => {
                f.write_str(grant_type.as_str())?;
                for part in [grant.as_deref(), Some(scope.to_string().as_str())] {
                    if let Some(part) = part.filter(|part| !part.is_empty()) {
                        write!(f, " {part}")?;
                    }
                }
                Ok(())
            }
            Event::Replay {
                artefact, grant, ..
            } => write!(f, "{artefact} of {grant}"),
            Event::RevokeGrant { grant, .. } => write!(f, "refresh token of {grant}"),
            Event::RevokeAccessToken { jti, .. } => write!(f, "access token {jti}"),
            Event::ClientAuthenticationRefused { why, .. }
            | Event::RegistrationRefused { why }
            | Event::RegistrationThrottled { why }
            | Event::LogoutNoticeGivenUp { why, .. }
            | Event::ApprovalRefused { why, .. }
            | Event::PingGivenUp { why, .. } => f.write_str(&short(why)),
            Event::ClientAuthenticationThrottled { .. } => {
                f.write_str("too many wrong ones from there")
            }
            Event::ClientRegistered { name, .. } => {
                f.write_str(&short(name.as_deref().unwrap_or("no name")))
            }
            Event::ClientShared { .. } => f.write_str("again: shared, management closed"),
            Event::DocumentAccepted { news, .. } => f.write_str(news),
            Event::DocumentWithdrawn { .. } => f.write_str("document withdrawn"),
            Event::KeyMade {
                kid,
                alg,
                signs_from,
            } => write!(f, "{alg} {kid} signs from {signs_from}"),
            Event::KeyRotated {
                kid,
                alg,
                signs_from,
                withdrawn,
            } => {
                write!(f, "{alg} {kid} signs from {signs_from}")?;
                f.write_str(if *withdrawn {
                    ", the old keys are withdrawn"
                } else {
                    ""
                })
            }
            Event::Operator(deed) => deed.fmt(f),
        }
    }
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Artefact::Code => "code",
            Artefact::RefreshToken => "refresh token",
            Artefact::DeviceCode => "device code",
            Artefact::AuthenticationRequest => "auth_req_id",
        })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::UserAdded { name, .. } => write!(f, "user {name} added"),
            Deed::PasswordSet { name, revoked, .. } => {
                let grants = if *revoked { "revoked" } else { "kept" };
                write!(f, "password of user {name} set, grants {grants}")
            }
            Deed::UserDisabled { name, .. } => write!(f, "user {name} disabled"),
            Deed::UserEnabled { name, .. } => write!(f, "user {name} enabled"),
            Deed::UserDeleted { name, .. } => write!(f, "user {name} deleted"),
            Deed::ClientAdded { .. } => f.write_str("client added"),
            Deed::SecretReplaced { .. } => f.write_str("client secret replaced"),
            Deed::ClientDeleted { .. } => f.write_str("client deleted"),
            Deed::ResourcePut { resource } => write!(f, "resource {resource} put"),
            Deed::ResourceDeleted { resource } => write!(f, "resource {resource} deleted"),
            Deed::Restored { from, ended: None } => write!(f, "restored from {from}"),
            Deed::Restored {
                from,
                ended: Some(grants),
            } => write!(f, "restored from {from}, {grants} grants ended"),
        }
    }
}

fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
