//! Flows of the authorization server over real sockets.

mod backup;
mod crash;
mod demo;
mod documents;
mod lifecycle;
mod machine;
mod measure;
mod operator;
mod pages;
mod races;
pub(crate) mod registrations;
mod storm;
mod tokens;
mod traces;
mod unit;
