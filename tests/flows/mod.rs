//! Flows of the authorization server over real sockets.

mod crash;
mod lifecycle;
mod pages;
mod races;
mod registrations;
