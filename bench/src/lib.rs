//! Load generator, machine roofline, comparisons beside peers.
#![deny(unsafe_code)]

pub mod client;
pub mod load;
pub mod percentiles;
pub mod roofline;
