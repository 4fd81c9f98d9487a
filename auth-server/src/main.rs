//! `auth-server`: the command line around the library.

use std::process::ExitCode;

mod cli;

/// A request is many small values that live for microseconds, on whichever thread is free.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    Box::pin(cli::run()).await
}
