//! The IAM policy language: parse and evaluate; pure.
//!
//! A policy document comes in as JSON text and is parsed once, strictly ([`Policy::parse`]); what
//! parses can be evaluated without any further error. A [`Request`] says who asks for what, in
//! which circumstances. [`evaluate()`] answers for one set of policies, [`decide()`] for all that
//! bear on a request (identity, resource, boundary, session, ACL), as AWS combines them.
//! [`is_public`] is AWS's "meaning of public" for bucket policies.
//!
//! Absent by design: clocks, address parsing from sockets, look-ups of users or buckets. The
//! gateway puts all circumstances into the request's context.
//!
//! Where AWS's documents are silent the stricter reading was taken; each such place says so.
#![forbid(unsafe_code)]
#![deny(clippy::iter_over_hash_type)]

mod actions;
mod arn;
mod bucket_rules;
mod condition;
mod condition_keys;
mod decide;
mod document;
mod error;
mod evaluate;
mod json;
mod literal;
mod pattern;
mod principal;
mod public;
mod request;

pub use actions::{Applies, applies_to};
pub use condition::WILD_VALUE_BYTES_MAX;
pub use decide::{AclGrant, Inputs, Lockout, decide};
pub use document::{
    BUCKET_POLICY_BYTES_MAX, Effect, GROUP_INLINE_CHARS_MAX, MANAGED_POLICY_CHARS_MAX, Mismatch,
    Mode, ONES_MAX, Policy, ROLE_INLINE_CHARS_MAX, SESSION_POLICY_CHARS_MAX, Statement,
    TEXT_BYTES_MAX, TRUST_POLICY_CHARS_MAX, USER_INLINE_CHARS_MAX, Version, non_blank_chars,
};
pub use error::{ErrorKind, PolicyError};
pub use evaluate::{Cause, Decision, Missing, Reason, Source, evaluate};
pub use json::JSON_DEPTH_MAX;
pub use principal::Named;
pub use public::is_public;
pub use request::{Principal, Request, RootAccount, Session, SessionKind, User};
