//! The credentials file and the key file: what opens this cluster, 0600, outside the drives.

pub(crate) mod private;

use engine_types::ClusterId;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a key file.
pub(crate) const KEY_FILE_BYTES: usize = 32;
/// Characters of generated keys, as AWS makes them.
const ACCESS_CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Always written at first start; where it stands, empty drives are not taken for a first start.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The cluster whose root this is.
    pub(crate) cluster: String,
    /// Root's access key.
    pub(crate) access_key: String,
    /// Root's secret.
    #[serde(with = "wiped")]
    pub(crate) secret_key: Zeroizing<String>,
}

/// A secret in JSON, which is wiped when dropped.
mod wiped {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// A file that must be there or be made, and is not right.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub(crate) struct CredentialsError {
    file: String,
    problem: String,
}

fn wrong(file: &Path, problem: &impl ToString) -> CredentialsError {
    CredentialsError {
        file: file.display().to_string(),
        problem: problem.to_string(),
    }
}

impl Credentials {
    /// The file's content; `None`: there is no file.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>, CredentialsError> {
        let Some(bytes) = read_private(file)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| wrong(file, &format!("not a credentials file: {e}")))
    }

    /// Root keys of a new cluster: as given (both or none), else generated.
    pub(crate) fn first(
        cluster: ClusterId,
        given: Option<(String, String)>,
    ) -> Result<Self, CredentialsError> {
        let (access_key, secret_key) = match given {
            Some(pair) => pair,
            None => generated_pair()?,
        };
        Ok(Self {
            cluster: cluster.to_string(),
            access_key,
            secret_key: Zeroizing::new(secret_key),
        })
    }

    /// Writes the file, 0600, durably; refuses to replace one.
    pub(crate) fn write_new(&self, file: &Path) -> Result<(), CredentialsError> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(self).map_err(|e| wrong(file, &e))?);
        private::appear(file, &text).map_err(|e| wrong(file, &e))
    }
}

/// A new access key and its secret.
pub(crate) fn generated_pair() -> Result<(String, String), CredentialsError> {
    Ok((generated(20, ACCESS_CHARS)?, generated(40, SECRET_CHARS)?))
}

/// The key file's bytes; made if absent and `may_make` (first start only: a lost key file must be
/// an error, not a new key).
pub(crate) fn key_file(
    file: &Path,
    may_make: bool,
) -> Result<Zeroizing<Vec<u8>>, CredentialsError> {
    if let Some(bytes) = read_private(file)? {
        return if bytes.len() == KEY_FILE_BYTES {
            Ok(bytes)
        } else {
            Err(wrong(
                file,
                &format!(
                    "a key file has {KEY_FILE_BYTES} bytes, this one has {}",
                    bytes.len()
                ),
            ))
        };
    }
    if !may_make {
        return Err(wrong(
            file,
            &"key file is missing; the drives cannot be opened without it: bring it back, or see \
             \"datamesh keyring import --offline\"",
        ));
    }
    let mut key = Zeroizing::new(vec![0; KEY_FILE_BYTES]);
    random(&mut key)?;
    private::appear(file, &key).map_err(|e| wrong(file, &e))?;
    Ok(key)
}

fn read_private(file: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CredentialsError> {
    let mut opened = match File::open(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| wrong(file, &e))?,
    };
    let mode = opened
        .metadata()
        .map_err(|e| wrong(file, &e))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(
            file,
            &format!("mode {mode:o} lets others read it; chmod 600 it"),
        ));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    opened
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(file, &e))?;
    Ok(Some(bytes))
}

fn random(bytes: &mut [u8]) -> Result<(), CredentialsError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_e| wrong(Path::new("/dev/urandom"), &"no randomness"))
}

/// `length` of `alphabet` (at most 64 letters, a power of two), uniform.
fn generated(length: usize, alphabet: &[u8]) -> Result<String, CredentialsError> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    random(&mut bytes)?;
    Ok(bytes
        .iter()
        .map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_once_private_and_read_back() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("deep/credentials.json");
        assert!(Credentials::read(&file).expect("absent").is_none());
        let made = Credentials::first(ClusterId([7; 16]), None).expect("made");
        assert_eq!((made.access_key.len(), made.secret_key.len()), (20, 40));
        made.write_new(&file).expect("written");
        let bits = std::fs::metadata(&file)
            .expect("there")
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(bits, 0o600);
        let read = Credentials::read(&file).expect("read").expect("there");
        assert_eq!(
            (read.access_key, read.secret_key),
            (made.access_key.clone(), made.secret_key.clone())
        );
        assert!(made.write_new(&file).is_err(), "never replaced");
    }

    #[test]
    fn a_lost_key_file_is_not_made_anew_and_an_open_one_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("key");
        assert!(key_file(&file, false).is_err());
        let key = key_file(&file, true).expect("made");
        assert_eq!(*key_file(&file, false).expect("read"), *key);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(
            key_file(&file, false)
                .expect_err("open to others")
                .to_string()
                .contains("chmod 600")
        );
    }
}
