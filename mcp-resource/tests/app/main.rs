//! The server as its clients see it: real sockets, real signatures, an issuer that can rotate its keys and go down.
//!
//! One file per area; `world.rs` has the actors. A test may unwrap: a panic is its way to fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod challenge;
mod cli;
mod configuration;
mod cors;
mod documents;
mod dpop;
mod foreign;
mod keys;
mod layers;
mod library;
mod limits;
mod metadata;
mod protocol;
mod scopes;
mod tokens;
mod tools;
mod world;
