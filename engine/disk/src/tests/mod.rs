//! Tests over the whole crate.

pub(crate) mod tape;
