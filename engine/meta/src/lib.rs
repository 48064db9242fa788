//! Replicated metadata: every change is a command → raft log → pure apply → tables.
#![deny(unsafe_code)]

pub mod rows;

pub mod log;
pub mod raft;
