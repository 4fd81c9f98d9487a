//! What is known of a client's secret: its digest, or for the one method that signs with it, the secret.

use crate::protocol::secret::{Digest, Secret};

/// A secret that is needed in clear to check what was signed with it.
#[derive(Clone)]
pub enum SharedSecret {
    /// Of a file that the configuration names.
    Clear(Secret),
    /// Of the store, sealed under the master key.
    Sealed(String),
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What is known of a client's secret.
#[derive(Clone, Debug)]
pub enum Kept {
    /// Its digest, for methods that send the secret.
    Digest(Digest),
    /// The secret, for the method that signs with it.
    Shared(SharedSecret),
}
