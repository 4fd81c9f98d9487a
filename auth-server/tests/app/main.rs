//! The server as its clients and users see it: every test drives the router with public HTTP, on a fixed clock.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod audit;
mod authority;
mod authorize;
mod cache;
mod claims;
mod cli;
mod client_auth;
mod consent;
mod device;
mod discovery;
mod documents;
mod dpop;
mod fapi;
mod hosts;
mod introspection;
mod keys;
mod layers;
mod limits;
mod logos;
mod logout;
mod migrations;
mod outbound;
mod par;
mod refresh;
mod registration;
mod request_object;
mod sign_in;
mod signer;
mod store;
mod subjects;
mod tls;
mod token;
mod userinfo;
mod world;
