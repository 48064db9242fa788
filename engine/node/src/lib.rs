//! Drives the machines of `engine-core` over the ports; the engine's public API.
//!
//! In reading order: [`api`] (what calls take and give), `engine` (parts, start, shutdown), then a
//! file for each verb; below them what writes and reads stripes, the drives, the buffers, the
//! keyring; last the background work.
#![deny(unsafe_code)]

pub mod api;
mod engine;
mod error;

mod accounts;
mod attributes;
mod buckets;
mod complete;
mod delete;
mod get;
mod kms;
mod list;
mod multipart;
mod put;

mod births;
mod body;
mod body_map;
mod budget;
mod buffers;
mod cache;
mod compute;
mod cross_check;
mod damage;
mod drives;
mod hash_lanes;
mod idle_read;
pub mod keyring;
mod keys;
mod object_read;
mod patience;
mod pieces;
mod pins;
mod proposals;
mod read_ahead;
mod reading;
mod rebuild;
mod rejudge;
pub mod scrub;
mod sealed;
mod store_part;
mod stripe_read;
mod stripe_write;
mod written;

mod lifecycle;
pub mod metrics;
mod tasks;
mod worker;

pub use accounts::{NewCluster, bootstrap};
pub use api::*;
pub use buffers::{BUFFER_BUDGET_BYTES, BUFFER_BUDGET_BYTES_MIN};
pub use damage::{Damage, Reports};
pub use drives::{DriveStatus, Drives, Service};
pub use engine::{Engine, EngineOptions, EngineParts, OpenedDrive};
pub use error::{BodyError, ByteStream, EngineError};
pub use keyring::{Keyring, KeyringError, KeyringLock};
pub use kms::ImportError;
pub use pins::Pin;
pub use rebuild::{Amount, RebuildPhase, RebuildStatus};
pub use rejudge::Rejudge;
