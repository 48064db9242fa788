//! Drives the machines of `engine-core` over the ports; the engine's public API.
//!
//! In reading order: [`api`] (what calls take and give), `engine` (parts, start, shutdown), then a
//! file for each verb; below them what writes and reads stripes, the drives, the buffers, the
//! keyring; last the background work.
#![deny(unsafe_code)]

pub mod api;
mod engine;
mod error;

mod put;
mod get;
mod delete;
mod attributes;
mod multipart;
mod complete;
mod list;
mod buckets;
mod accounts;
mod kms;

mod body;
mod store_part;
mod stripe_write;
mod written;
mod stripe_read;
mod object_read;
mod body_map;
mod buffers;
mod compute;
mod drives;
mod damage;
mod keys;
pub mod keyring;
mod proposals;
mod births;
mod pins;
mod cache;

mod worker;
mod tasks;
mod lifecycle;
pub mod metrics;

pub use accounts::{NewCluster, bootstrap};
pub use api::*;
pub use damage::Damage;
pub use drives::{DriveStatus, Drives, Service};
pub use engine::{Engine, EngineOptions, EngineParts};
pub use error::{BodyError, ByteStream, EngineError};
pub use keyring::{Keyring, KeyringError, KeyringLock};
pub use pins::Pin;
