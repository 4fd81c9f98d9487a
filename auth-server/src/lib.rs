//! auth-server
pub mod protocol;
