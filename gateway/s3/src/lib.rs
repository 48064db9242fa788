//! The S3 protocol, nothing else: HTTP requests in, calls of the engine out.
//!
//! Reading order: [`front`] (the outermost service) → `precheck` (what the head alone decides) →
//! `auth`, `access` (who may) → `service` (operation → file) → one file a verb. `error` is the one
//! place where an engine's refusal becomes an S3 code. Only this crate knows s3s.
#![forbid(unsafe_code)]
#![expect(
    clippy::doc_markdown,
    reason = "S3's operations and header fields read as words"
)]
// (Clippy does not look for them in test builds.)
#![cfg_attr(
    not(test),
    expect(
        clippy::wildcard_imports,
        reason = "s3s::dto is an operation's input, output and their parts: listing them says nothing"
    )
)]

pub mod front;
mod options;

mod body;
mod chunked;
mod close;
mod cors;
mod document_body;
mod documents;
mod hashed_body;
mod held;
mod post_form;
mod precheck;
mod render;
mod repair;
mod request;

mod access;
mod acl;
mod auth;
mod gateway;
mod host;
mod identity;
mod seams;
mod service;
mod unconfigured;

mod acl_ops;
mod attributes;
mod bucket;
mod copy;
mod cors_ops;
mod delete;
mod delete_many;
mod encryption_ops;
mod get_object;
mod list;
mod list_versions;
mod multipart;
mod multipart_list;
mod object_attributes;
mod ownership;
mod part_copy;
mod policy_ops;
mod public_access;
mod put_object;
mod tagging;
mod versioning;

mod checksum;
mod conditions;
mod error;
mod range;
mod sse;
mod token;
mod translate;
mod waiting;
mod xml;

#[doc(hidden)]
pub mod fuzzing;

pub use front::{ConnectionInfo, S3Front};
pub use options::{FrontOptions, ObjectOwnership, Proxy, ProxyParseError};
pub use waiting::waiting;
