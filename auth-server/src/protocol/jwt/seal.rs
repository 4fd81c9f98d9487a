//! Private keys at rest: sealed under the master key.

use josekit::jwe::{self, JweHeader};

use super::{Invalid, invalid};

/// Seals bytes under the master key as a compact JWE (`dir`, A256GCM).
pub fn seal(master: &[u8; 32], plain: &[u8]) -> Result<String, Invalid> {
    let mut header = JweHeader::new();
    header.set_content_encryption("A256GCM");
    let encrypter = jwe::Dir
        .encrypter_from_bytes(master)
        .map_err(|e| invalid(e.to_string()))?;
    jwe::serialize_compact(plain, &header, &encrypter).map_err(|e| invalid(e.to_string()))
}

/// Opens what [`seal`] made.
pub fn unseal(master: &[u8; 32], sealed: &str) -> Result<Vec<u8>, Invalid> {
    let decrypter = jwe::Dir
        .decrypter_from_bytes(master)
        .map_err(|e| invalid(e.to_string()))?;
    jwe::deserialize_compact(sealed, &decrypter)
        .map(|(plain, _)| plain)
        .map_err(|_| invalid("the master key does not open this key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_the_master_key_only() {
        let sealed = seal(&[1; 32], b"secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(unseal(&[1; 32], &sealed).unwrap(), b"secret");
        assert!(unseal(&[2; 32], &sealed).is_err());
    }
}
