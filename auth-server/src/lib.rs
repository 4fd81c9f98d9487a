//! auth-server
pub mod config;
pub mod credential;
pub mod effects;
pub mod flow;
pub mod outbound;
pub mod protocol;
pub mod store;
