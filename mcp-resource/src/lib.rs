#![doc = include_str!("../README.md")]

pub mod guard;

#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod index;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod tool;

#[cfg(feature = "server")]
pub use config::{Config, ConfigError, DEFAULT_FILE, FILE_VARIABLE};
#[cfg(feature = "server")]
pub use server::{Server, serve, start, start_logging};
