//! Why a document was refused, and where in it.

use std::fmt;

/// What the caller must do about a refused document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not a valid policy: `MalformedPolicy` for a bucket, `MalformedPolicyDocument` from IAM.
    Malformed,
    /// Longer than its kind may be: `MalformedPolicy` for a bucket, `LimitExceeded` from IAM.
    TooLarge,
}

/// A refused policy document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// Sort of refusal.
    pub kind: ErrorKind,
    /// The place, for example `Statement[1].Effect`; empty for the document as a whole.
    pub path: String,
    /// One sentence; AWS's own words where they are known.
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{} (at {})", self.message, self.path)
        }
    }
}

/// A place in the document under inspection; grows towards the leaves.
#[derive(Debug, Clone)]
pub(crate) struct At(String);

impl At {
    pub(crate) fn root() -> Self {
        Self(String::new())
    }

    pub(crate) fn field(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_owned())
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(crate) fn malformed(&self, message: impl Into<String>) -> PolicyError {
        PolicyError {
            kind: ErrorKind::Malformed,
            path: self.0.clone(),
            message: message.into(),
        }
    }

    pub(crate) fn too_large(&self, message: impl Into<String>) -> PolicyError {
        PolicyError {
            kind: ErrorKind::TooLarge,
            path: self.0.clone(),
            message: message.into(),
        }
    }
}
