//! How people prove who they are. Pure and synchronous, like [`crate::protocol`].

pub mod password;
