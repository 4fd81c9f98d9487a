//! Flows of the authorization server over real sockets.

mod backup;
mod crash;
mod demo;
mod documents;
mod lifecycle;
mod machine;
mod measure;
mod openid_core;
mod openid_logout;
mod openid_session;
mod operator;
mod pages;
mod races;
pub(crate) mod registrations;
mod relying_party;
mod storm;
mod tokens;
mod traces;
mod unit;
