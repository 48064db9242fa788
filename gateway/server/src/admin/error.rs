//! What the admin API answers when it cannot: `{"code", "message"}` and a status.

use super::auth::AuthError;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine_core::meta::Refusal;
use engine_core::ports::MetaError;
use engine_disk::{MarkError, OpenError};
use engine_node::{EngineError, ImportError, KeyringError};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind::NotFound;

/// Why a request was not done, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AdminError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// As it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// For programs; a closed list, see docs/ADMIN.md.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

impl AdminError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
    /// 400.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }
    /// 404.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }
    /// 409.
    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }
    /// 503.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
    }
    /// 500: a human must look.
    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal",
            error.to_string(),
        )
    }
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(message = self.message, "admin request failed");
        }
        let body = ErrorBody {
            code: self.code.into(),
            message: self.message,
        };
        (self.status, Json(body)).into_response()
    }
}

impl From<AuthError> for AdminError {
    fn from(error: AuthError) -> Self {
        let (status, code) = match &error {
            AuthError::Missing => (StatusCode::UNAUTHORIZED, "MissingAuthentication"),
            AuthError::Malformed(_) => (StatusCode::BAD_REQUEST, "MalformedAuthorization"),
            AuthError::Scope { .. } => (StatusCode::FORBIDDEN, "WrongScope"),
            AuthError::Skewed { .. } => (StatusCode::FORBIDDEN, "RequestTimeTooSkewed"),
            AuthError::UnknownKey => (StatusCode::FORBIDDEN, "InvalidAccessKeyId"),
            AuthError::Signature => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
            AuthError::NotRoot => (StatusCode::FORBIDDEN, "NotRoot"),
            AuthError::Payload => (StatusCode::BAD_REQUEST, "PayloadMismatch"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<EngineError> for AdminError {
    fn from(error: EngineError) -> Self {
        let text = error.to_string();
        match error {
            EngineError::Refused(
                Refusal::NoSuchBucket
                | Refusal::NoSuchKey
                | Refusal::NoSuchVersion
                | Refusal::NoSuchAccount
                | Refusal::NoSuchAccessKey,
            )
            | EngineError::KeyUnavailable(_) => Self::missing(text),
            EngineError::Refused(_) => Self::conflict("Refused", text),
            EngineError::Unavailable(_) => Self::unavailable(text),
            EngineError::SlowDown => Self::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", text),
            EngineError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "InsufficientStorage",
                text,
            ),
            _ => Self::internal(text),
        }
    }
}

impl From<MetaError> for AdminError {
    fn from(error: MetaError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<ImportError> for AdminError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Keyring(error) => error.into(),
            ImportError::Engine(error) => error.into(),
        }
    }
}

impl From<KeyringError> for AdminError {
    fn from(error: KeyringError) -> Self {
        let text = error.to_string();
        match error {
            KeyringError::NoMajority { .. } | KeyringError::NotRead { .. } => {
                Self::unavailable(text)
            }
            KeyringError::WrongLock | KeyringError::LockKind { .. } => {
                Self::new(StatusCode::FORBIDDEN, "WrongPassphrase", text)
            }
            KeyringError::Damaged(_) | KeyringError::Forged | KeyringError::Newer(_) => {
                Self::invalid(text)
            }
            _ => Self::internal(text),
        }
    }
}

impl From<MarkError> for AdminError {
    fn from(error: MarkError) -> Self {
        let text = match &error {
            MarkError::Open(OpenError::Io { path, source }) if source.kind() == NotFound => {
                let path = path.display();
                format!("{path}: no such directory: make the empty directory first")
            }
            _ => error.to_string(),
        };
        Self::conflict("DriveRefused", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_adds_a_path_that_is_absent_is_told_to_make_it() {
        let drive = tempfile::TempDir::new().expect("a directory");
        let absent = drive.path().join("absent");
        let refused = engine_disk::EmptyPath::open(&absent).expect_err("it is absent");
        let told = AdminError::from(refused);
        assert_eq!(
            (told.status, told.code),
            (StatusCode::CONFLICT, "DriveRefused")
        );
        assert!(
            told.message.contains("make the empty directory first"),
            "{told:?}"
        );
    }
}
