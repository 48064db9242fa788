//! Black-box suites on any endpoint, real clients, repository checks.
//!
//! The suites that talk S3 are programs beside this crate (`s3tests/`, `clients/`, see `README.md`).
//! In the crate are the checks of the repository itself, as tests: [`tree`] reads files,
//! [`arrows`] asks cargo who depends on whom, [`ratchet`] holds debts that may only shrink.

pub mod arrows;
pub mod ratchet;
pub mod tree;
