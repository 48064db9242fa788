//! The engine end to end over fakes of its ports.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "tests: they stop where something is not as it must be, on 64 bits"
)]

mod accounts;
mod background;
mod buckets;
mod collector;
mod ending;
mod faults;
mod keyring;
mod keyring_reading;
mod keyring_turns;
mod keys;
mod liars;
mod lost;
mod moved;
mod multipart;
mod objects;
mod readers;
mod returns;
mod scrub;
mod silence;
mod support;
