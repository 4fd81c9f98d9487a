//! Device authorization (RFC 8628): the code that a person reads on one device and types in on another, and what the device
//! asks for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::authorize;
use super::client::{Client, GrantType};
use super::params::Params;
use super::refusal::{Code, Refusal};
use super::resource::Resource;
use super::scope::Scope;
use super::secret::DerivationKey;

/// Letters without vowels, so that no code is a word (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a code: 34.5 bits.
const LENGTH: usize = 8;
/// Most characters that a person may type for them.
const LONGEST: usize = 64;

/// What a person types, in normal form: `WDJBMJHT`, shown as `WDJB-MJHT`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// A code from fresh bytes.
    #[must_use]
    pub fn mint(fresh: [u8; 16]) -> UserCode {
        // 20^8 codes out of 2^128 numbers: no code is noticeably likelier than another.
        let mut number = u128::from_be_bytes(fresh);
        let letters = (0..LENGTH).map(|_| {
            let letter = LETTERS[usize::try_from(number % 20).unwrap_or_default()];
            number /= 20;
            char::from(letter)
        });
        UserCode(letters.collect())
    }

    /// Reads what was typed: case, spaces and punctuation are of no account (RFC 8628 §6.1).
    #[must_use]
    pub fn parse(typed: &str) -> Option<UserCode> {
        if typed.chars().count() > LONGEST {
            return None;
        }
        let letters: String = typed
            .chars()
            .filter(|c| c.is_alphanumeric())
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let good = letters.len() == LENGTH && letters.bytes().all(|b| LETTERS.contains(&b));
        good.then_some(UserCode(letters))
    }

    /// What is stored. A plain digest of so few letters could be undone by trying them all; this one needs our key.
    #[must_use]
    pub fn digest(&self, key: &DerivationKey) -> String {
        URL_SAFE_NO_PAD.encode(key.derive("user code", &self.0))
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = self.0.split_at(LENGTH / 2);
        write!(f, "{left}-{right}")
    }
}

/// What a device asks for (RFC 8628 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Known scope, defaults filled in.
    pub scope: Scope,
    /// Resources in registered spelling.
    pub resources: Vec<String>,
}

/// Reads and checks a request of `client` for `grant`: the scope and resources that an authorization request may have.
pub fn accept(
    params: &Params,
    client: &Client,
    grant: GrantType,
    registered: &[Resource],
) -> Result<Asked, Refusal> {
    params.refuse_repeats()?;
    allowed(client, grant)?;
    let resources = authorize::resources(params, client, registered)?;
    Ok(Asked {
        scope: authorize::scope(params.get("scope"), client, &resources)?,
        resources: resources
            .into_iter()
            .map(|resource| resource.id.clone())
            .collect(),
    })
}

/// Refuses a client that does not have the grant.
pub fn allowed(client: &Client, grant: GrantType) -> Result<(), Refusal> {
    if client.may(grant) {
        return Ok(());
    }
    let why = format!("this client may not use {}", grant.as_str());
    Err(Refusal::new(Code::UnauthorizedClient, why).setting("clients.grant_types"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for typed in [
            "WDJB-MJHT",
            "wdjbmjht",
            " wdjb mjht ",
            "WDJB–MJHT",
            "W.D.J.B.M.J.H.T",
        ] {
            let code = UserCode::parse(typed).unwrap();
            assert_eq!(code.to_string(), "WDJB-MJHT", "{typed}");
        }
        for typed in [
            "",
            "WDJB",
            "WDJB-MJHTX",
            "WDJB-MJHA",
            "WDJB-MJH1",
            "WDJB-MJHÄ",
            &"W".repeat(100),
        ] {
            assert!(UserCode::parse(typed).is_none(), "{typed}");
        }
    }

    #[test]
    fn the_stored_form_needs_the_key() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        let key = |n| DerivationKey::from_master(&[n; 32]);
        assert_eq!(code.digest(&key(1)), code.digest(&key(1)));
        assert_ne!(code.digest(&key(1)), code.digest(&key(2)));
    }

    proptest! {
        #[test]
        fn every_code_reads_as_itself(fresh in any::<[u8; 16]>()) {
            let code = UserCode::mint(fresh);
            prop_assert!(UserCode::parse(&code.to_string()) == Some(code));
        }

        #[test]
        fn anything_typed_is_read_or_refused(typed in ".{0,100}") {
            if let Some(code) = UserCode::parse(&typed) {
                prop_assert_eq!(code.to_string().len(), 9);
            }
        }
    }
}
