#![doc = include_str!("../README.md")]

pub mod guard;

#[cfg(feature = "server")]
mod config;
#[cfg(all(feature = "server", feature = "otlp"))]
mod export;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod index;
#[cfg(feature = "server")]
mod log;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod tool;

#[cfg(feature = "server")]
pub use config::{Config, ConfigError, DEFAULT_FILE, FILE_VARIABLE};
#[cfg(feature = "server")]
pub use log::{Log, start_logging};
#[cfg(feature = "server")]
pub use server::{Server, serve, start};
