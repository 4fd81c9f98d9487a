#![doc = include_str!("../README.md")]

pub mod config;
pub mod credential;
pub mod effects;
pub mod flow;
pub mod http;
pub mod metrics;
pub mod outbound;
pub mod protocol;
pub mod store;
pub mod tls;
pub mod trace;

pub use http::metrics::serve as serve_metrics;
pub use http::{serve, serve_both};
