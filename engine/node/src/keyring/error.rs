//! Why there is no keyring, or no key.

use super::KEY_FILE_BYTES_MIN;
use crate::EngineError;

/// Why there is no keyring, or no key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyringError {
    /// Another passphrase or key file than it was locked with.
    #[error("the keyring does not open: wrong passphrase or key file")]
    WrongLock,
    /// It was locked with the other kind.
    #[error("the keyring needs {needs}")]
    LockKind {
        /// What opens it.
        needs: &'static str,
    },
    /// A key file shorter than [`KEY_FILE_BYTES_MIN`].
    #[error("the key file is shorter than {KEY_FILE_BYTES_MIN} bytes")]
    KeyFileTooShort,
    /// No copy reads; what the last said.
    #[error("the keyring is damaged: {0}")]
    Damaged(String),
    /// Changed by somebody who does not hold the lock.
    #[error("the keyring is not authentic: it was changed without its passphrase or key file")]
    Forged,
    /// Written by a newer release.
    #[error("the keyring was written in version {0}: upgrade this release")]
    Newer(u8),
    /// There is none on any drive.
    #[error("no drive holds a keyring")]
    Absent,
    /// There is one already.
    #[error("a drive holds a keyring already")]
    Exists,
    /// It would be longer than [`super::KEYRING_BYTES_MAX`].
    #[error("the keyring holds as many key versions as it can")]
    TooLong,
    /// Not durable on a majority of control's voters' drives.
    #[error("the keyring was written to {written} of {holders} drives; a majority is needed")]
    NoMajority {
        /// Copies durable.
        written: usize,
        /// Drives asked.
        holders: usize,
    },
    /// Newer copies may lie on drives that were not read.
    #[error(
        "the keyring was read whole on {read} of {holders} drives; a majority is needed, since newer keys \
         may lie on the others: bring them back"
    )]
    NotRead {
        /// Whole copies, or certain absence.
        read: usize,
        /// Drives asked.
        holders: usize,
    },
    /// A bug.
    #[error("keyring: {0}")]
    Internal(String),
}

impl From<KeyringError> for EngineError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::NoMajority { .. } | KeyringError::NotRead { .. } => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Internal(other.to_string()),
        }
    }
}
