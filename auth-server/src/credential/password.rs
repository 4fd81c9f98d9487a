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

/// Most KiB of memory of a hash that was made elsewhere.
const MOST_MEMORY: u32 = 1024 * 1024;
/// Most passes of a hash that was made elsewhere.
const MOST_PASSES: u32 = 10;
/// Most lanes of a hash that was made elsewhere.
const MOST_LANES: u32 = 16;

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

/// Checks that a PHC string is one that [`verify`] understands, and that verifying it costs no more than a sign-in may.
pub fn check_hash(hash: &str) -> Result<(), String> {
    let parsed =
        PasswordHash::new(hash).map_err(|e| format!("password_hash is not a PHC string: {e}"))?;
    if parsed.algorithm.as_str() != "argon2id" || parsed.hash.is_none() {
        return Err("password_hash must be an argon2id hash".into());
    }
    let cost = argon2::Params::try_from(&parsed)
        .map_err(|e| format!("password_hash has parameters that argon2 does not know: {e}"))?;
    if cost.m_cost() > MOST_MEMORY || cost.t_cost() > MOST_PASSES || cost.p_cost() > MOST_LANES {
        return Err(format!(
            "password_hash costs too much: at most m={MOST_MEMORY}, t={MOST_PASSES}, p={MOST_LANES}"
        ));
    }
    Ok(())
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
            "$argon2i$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=2097152,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(check_hash(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hash_made_elsewhere_is_argon2id_of_bounded_cost() {
        let with = |algorithm: &str, cost: &str| {
            DUMMY
                .replace("argon2id", algorithm)
                .replace("m=19456,t=2,p=1", cost)
        };
        for cost in ["m=1048576,t=10,p=16", "m=8,t=1,p=1", "m=65536,t=3,p=4"] {
            assert_eq!(check_hash(&with("argon2id", cost)), Ok(()), "{cost}");
        }
        for (algorithm, cost) in [
            ("argon2i", "m=19456,t=2,p=1"),
            ("argon2d", "m=19456,t=2,p=1"),
            ("argon2id", "m=1048577,t=2,p=1"),
            ("argon2id", "m=19456,t=11,p=1"),
            ("argon2id", "m=19456,t=2,p=17"),
            ("argon2id", "m=1,t=2,p=1"),
        ] {
            let bad = with(algorithm, cost);
            assert!(check_hash(&bad).is_err(), "{bad}");
        }
    }
}
