//! Pure decisions of the engine, on-disk formats and the ports (traits) through which the crates
//! that do I/O meet. No tokio, clock, randomness or I/O: `now` and entropy come in.
#![deny(unsafe_code)]

pub mod digest;
pub mod erasure;
pub mod format;
pub mod md5;
pub mod meta;
pub mod placement;
pub mod ports;
pub mod seal;
pub mod stripes;
