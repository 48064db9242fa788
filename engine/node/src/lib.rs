//! Drives the engine's machines over the ports; the engine's public API.
#![deny(unsafe_code)]

pub mod api;
mod error;

pub use api::*;
pub use error::{BodyError, ByteStream, EngineError};
