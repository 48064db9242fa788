//! Every rule about limits, quotas, rates, prices and the ledger; pure: no clock, no randomness, no
//! I/O. Time comes in as a partition's stamp, entropy not at all.
//!
//! So far: what is stored is counted, exactly, in the same commit that stores it ([`counter`]), and
//! charges of one command are gathered before they touch a row ([`charges`]).
#![forbid(unsafe_code)]
#![deny(clippy::iter_over_hash_type)]

pub mod charges;
pub mod counter;

pub use charges::{Charges, Scope};
pub use counter::{Counter, CounterError, Delta};
