//! The S3 protocol, nothing else.
