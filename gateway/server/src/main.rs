//! The datamesh process: config, wiring, listeners, command line.
#![deny(unsafe_code)]

mod admin;
mod admission;
mod commands;
mod config;
mod credentials;
mod door;
mod ends;
mod erase;
mod handles;
mod holders;
mod keeper;
mod keyring;
mod listen;
mod looks;
mod majority;
mod meta_scrub;
mod paths;
mod pending;
mod prepared;
mod relapses;
mod restore;
mod runtime;
mod shelf;
mod shutdown;
mod store;
mod system;
mod telemetry;
mod tls;
mod witness;

use clap::Parser;
use std::process::ExitCode;

/// glibc's allocator keeps what bursts of uploads freed; jemalloc gives it back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    commands::CommandLine::parse().run()
}
