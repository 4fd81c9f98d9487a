//! Passwords: argon2id with 19 MiB and two passes (the OWASP minimum), in PHC strings. The sole importer of argon2.
//!
//! One hash takes about 15 ms of one core and 19 MiB: callers run it on a blocking thread, behind a limit.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};

/// Longest password, in bytes: a bound for the work of one request.
pub const LONGEST: usize = 1024;

/// KiB of memory of one hash.
const MEMORY: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;

/// Verified when there is no such user, so that both cases take the same time. No password gives this digest.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes a password with a fresh salt of 128 bits.
pub fn hash(password: &str, salt: [u8; 16]) -> Result<String, String> {
    hash_with(password, salt, MEMORY, PASSES)
}

/// Hashes with another cost: `memory` in KiB, `passes` over it.
pub fn hash_with(
    password: &str,
    salt: [u8; 16],
    memory: u32,
    passes: u32,
) -> Result<String, String> {
    let params = argon2::Params::new(memory, passes, 1, None).map_err(|e| e.to_string())?;
    let hash = Argon2::from(params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

/// Verifies a password; without a hash it does the same work and says no.
#[must_use]
pub fn verify(password: &str, hash: Option<&str>) -> bool {
    let known = hash.is_some();
    let verified = Argon2::default()
        .verify_password(password.as_bytes(), hash.unwrap_or(DUMMY))
        .is_ok();
    verified && known
}

/// Checks that a PHC string is one that [`verify`] understands.
pub fn check_hash(hash: &str) -> Result<(), String> {
    let parsed =
        PasswordHash::new(hash).map_err(|e| format!("password_hash is not a PHC string: {e}"))?;
    if parsed.algorithm.as_str().starts_with("argon2") && parsed.hash.is_some() {
        Ok(())
    } else {
        Err("password_hash must be an argon2id hash".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let hashed = hash("correct horse", [1; 16]).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(check_hash(&hashed).is_ok());
        assert!(verify("correct horse", Some(&hashed)));
        assert!(!verify("correct horsf", Some(&hashed)));
        assert!(!verify("correct horse", None));
    }

    #[test]
    fn the_dummy_is_a_full_hash_of_the_same_cost() {
        check_hash(DUMMY).unwrap();
        let (ours, dummy) = (hash("x", [1; 16]).unwrap(), DUMMY);
        assert_eq!(
            ours.split('$').take(4).collect::<Vec<_>>(),
            dummy.split('$').take(4).collect::<Vec<_>>()
        );
        assert_eq!(ours.len(), dummy.len());
    }

    #[test]
    fn other_hashes_are_refused() {
        for bad in [
            "",
            "plain",
            "$2b$12$abc",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
        ] {
            assert!(check_hash(bad).is_err(), "{bad}");
        }
    }
}
