//! Replicated metadata: every change is a command → raft log → pure apply → tables.
//!
//! In reading order. What a change does: [`state`] (pure apply) and [`query`] (pure reads) over
//! [`rows`], ordered bytes whose keys are made in [`keys`]. How it becomes durable: [`log`] (one
//! write-ahead log a drive), [`fjall_rows`] (the tables, a cache), [`snapshot`]. Who agrees: [`raft`]
//! (openraft in our words), [`replica`] (one copy of a partition on one drive), [`service`] (all
//! replicas of a node: leaders, lost drives, voters). On top [`metadata`], the port that others use.
#![deny(unsafe_code)]

pub mod rows;

mod applied;
mod blocking;
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
