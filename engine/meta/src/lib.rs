//! Replicated metadata: every change is a command → raft log → pure apply → tables.
#![deny(unsafe_code)]

pub mod rows;

mod applied;
pub mod fjall_rows;
mod journals;
pub mod log;
pub mod raft;
pub mod replica;
pub mod snapshot;

pub mod keys;
pub mod metadata;
pub mod query;
pub mod service;
pub mod state;
#[cfg(test)]
mod testing;
