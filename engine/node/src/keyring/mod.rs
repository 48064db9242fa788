//! The secrets of key versions, sealed in a file of every drive, outside raft log and tables: one
//! lost drive loses nothing, one stolen drive tells nothing, and destroying a key destroys the data
//! under it.
//!
//! A version is used only once it is durable on a majority of the holders. Opening takes the newest
//! copy that is authentic and brings the others up to it, so an old drive that rejoins loses what
//! was destroyed meanwhile.

mod file;

pub use file::{KEY_FILE_BYTES_MIN, KEYRING_BYTES_MAX, KeyOwner, KeyState, KeyringLock};

use crate::EngineError;
use engine_core::meta::KeyVersionId;
use engine_core::ports::{Clock, DriveError, DriveFiles, Entropy};
use file::{Entry, LockKey, LockKind, Pair, Ring};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where the file is on each drive.
pub const KEYRING_FILE: &str = "keyring/keyring";
/// A drive that takes longer to write its copy does not count.
const HOLDER_PATIENCE: Duration = Duration::from_secs(10);

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
    /// Not durable on a majority of the drives.
    #[error("the keyring was written to {written} of {holders} drives; a majority is needed")]
    NoMajority {
        /// Copies durable.
        written: usize,
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
            KeyringError::NoMajority { .. } => Self::Unavailable(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

/// A key version without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyVersion {
    /// Its number.
    pub id: KeyVersionId,
    /// Whose.
    pub owner: KeyOwner,
    /// When it was made, Unix ms.
    pub created_ms: u64,
    /// What it is good for.
    pub state: KeyState,
}

/// Ring and opened secrets.
struct Opened {
    ring: Ring,
    secrets: BTreeMap<KeyVersionId, Zeroizing<[u8; 32]>>,
    /// Asked for by every write.
    current: BTreeMap<KeyOwner, KeyVersionId>,
}

impl Opened {
    fn new(ring: Ring, secrets: BTreeMap<KeyVersionId, Zeroizing<[u8; 32]>>) -> Self {
        let mut opened = Self {
            ring: ring.clone(),
            secrets,
            current: BTreeMap::new(),
        };
        opened.set(ring);
        opened
    }
    fn set(&mut self, ring: Ring) {
        let current = ring
            .entries
            .iter()
            .filter(|entry| entry.state == KeyState::Current);
        self.current = current
            .map(|entry| (entry.owner.clone(), entry.id))
            .collect();
        self.ring = ring;
    }
}

/// Reads a keyring file as [`Keyring::open`] does, but does not ask whether a holder of `lock` wrote
/// it: for fuzzing, behind whose mutations no HMAC would ever hold. Whether it was undamaged.
#[doc(hidden)]
pub fn open_unauthenticated(bytes: &[u8], lock: &KeyringLock) -> bool {
    let Ok(ring) = Ring::decode(bytes) else {
        return false;
    };
    let pair = LockKey::derive(lock, ring.lock).and_then(|key| key.open_seed(&ring.seed));
    if let Ok(pair) = pair {
        let opened = ring.entries.iter().filter(|entry| pair.open(entry).is_ok());
        let _opened = opened.count();
    }
    true
}

/// The keyring of a node.
pub struct Keyring {
    opened: RwLock<Opened>,
    /// One writer at a time.
    writing: tokio::sync::Mutex<()>,
    pair: Pair,
    lock: LockKey,
    holders: RwLock<Vec<Arc<dyn DriveFiles>>>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("generation", &self.opened.read().ring.generation)
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Opens the newest copy; where no drive has one, makes it.
    pub async fn open_or_create(
        holders: Vec<Arc<dyn DriveFiles>>,
        lock: KeyringLock,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyringError> {
        match Self::open(
            holders.clone(),
            lock.clone(),
            Arc::clone(&entropy),
            Arc::clone(&clock),
        )
        .await
        {
            Err(KeyringError::Absent) => Self::create(holders, lock, entropy, clock).await,
            other => other,
        }
    }

    /// Makes an empty keyring; durable on a majority of `holders` once Ok.
    pub async fn create(
        holders: Vec<Arc<dyn DriveFiles>>,
        lock: KeyringLock,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyringError> {
        if read_copies(&holders).await.iter().any(Option::is_some) {
            return Err(KeyringError::Exists);
        }
        let kind = LockKind::new(&lock, &*entropy);
        let lock = blocking(move || LockKey::derive(&lock, kind)).await??;
        let pair = Pair::new(&*entropy);
        let seed = lock.seal_seed(&pair, &*entropy)?;
        let ring = Ring {
            generation: 0,
            lock: kind,
            seed,
            entries: Vec::new(),
        };
        let opened = RwLock::new(Opened::new(ring.clone(), BTreeMap::new()));
        let holders = RwLock::new(holders);
        let keyring = Self {
            opened,
            writing: tokio::sync::Mutex::default(),
            pair,
            lock,
            holders,
            entropy,
            clock,
        };
        keyring.write(ring).await?;
        Ok(keyring)
    }

    /// Opens the newest copy that is authentic and writes it where another is.
    ///
    /// # Errors
    /// `Absent`, `WrongLock`, `LockKind`, or what is wrong with the best copy there is.
    pub async fn open(
        holders: Vec<Arc<dyn DriveFiles>>,
        lock: KeyringLock,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyringError> {
        let copies = read_copies(&holders).await;
        let (bytes, opened, pair, lock) = blocking(move || newest(&copies, &lock)).await??;
        let keyring = Self {
            opened: RwLock::new(opened),
            writing: tokio::sync::Mutex::default(),
            pair,
            lock,
            holders: RwLock::new(holders),
            entropy,
            clock,
        };
        keyring.write_bytes(bytes).await?;
        Ok(keyring)
    }

    /// Replaces the drives that hold copies and brings them up to date.
    pub async fn set_holders(&self, holders: Vec<Arc<dyn DriveFiles>>) -> Result<(), KeyringError> {
        let _writing = self.writing.lock().await;
        *self.holders.write() = holders;
        let bytes = self.opened.read().ring.encode(&self.lock)?;
        self.write_bytes(bytes).await.map(drop)
    }

    /// The version that wraps now; made if the owner has none.
    pub async fn current(&self, owner: &KeyOwner) -> Result<KeyVersionId, KeyringError> {
        if let Some(id) = self.known_current(owner) {
            return Ok(id);
        }
        let _writing = self.writing.lock().await;
        match self.known_current(owner) {
            Some(id) => Ok(id),
            None => self.add_version(owner).await,
        }
    }

    /// A new version for the owner, from now on the one that wraps.
    pub async fn new_version(&self, owner: &KeyOwner) -> Result<KeyVersionId, KeyringError> {
        let _writing = self.writing.lock().await;
        self.add_version(owner).await
    }

    /// The same: the old version opens what it wrapped.
    pub async fn rotate(&self, owner: &KeyOwner) -> Result<KeyVersionId, KeyringError> {
        self.new_version(owner).await
    }

    /// The secret of a version; none if unknown or destroyed.
    pub fn secret(&self, version: KeyVersionId) -> Option<Zeroizing<[u8; 32]>> {
        self.opened.read().secrets.get(&version).cloned()
    }

    /// All versions.
    pub fn list(&self) -> Vec<KeyVersion> {
        let opened = self.opened.read();
        let entries = opened.ring.entries.iter();
        let version = |e: &Entry| KeyVersion {
            id: e.id,
            owner: e.owner.clone(),
            created_ms: e.created_ms,
            state: e.state,
        };
        entries.map(version).collect()
    }

    /// Erases every version of an owner, and with it the data they wrap. True: every holder has
    /// erased; false: a majority has, the others do when they are opened again.
    pub async fn destroy(&self, owner: &KeyOwner) -> Result<bool, KeyringError> {
        let _writing = self.writing.lock().await;
        let mut ring = self.opened.read().ring.clone();
        for entry in ring
            .entries
            .iter_mut()
            .filter(|entry| entry.owner == *owner)
        {
            entry.state = KeyState::Destroyed;
            entry.sealed.clear();
        }
        let everywhere = self.write(ring).await?;
        let mut opened = self.opened.write();
        let Opened { ring, secrets, .. } = &mut *opened;
        for entry in ring.entries.iter().filter(|entry| entry.owner == *owner) {
            secrets.remove(&entry.id);
        }
        Ok(everywhere)
    }

    /// All secrets, locked with a passphrase: for a safe place elsewhere.
    pub async fn export(&self, passphrase: Zeroizing<String>) -> Result<Vec<u8>, KeyringError> {
        let lock = KeyringLock::Passphrase(passphrase);
        let kind = LockKind::new(&lock, &*self.entropy);
        let lock = blocking(move || LockKey::derive(&lock, kind)).await??;
        let seed = lock.seal_seed(&self.pair, &*self.entropy)?;
        let ring = self.opened.read().ring.clone();
        Ring {
            lock: kind,
            seed,
            ..ring
        }
        .encode(&lock)
    }

    /// Takes the versions of an export that are unknown here. What was destroyed here stays so.
    /// How many came.
    pub async fn import(
        &self,
        bytes: Vec<u8>,
        passphrase: Zeroizing<String>,
    ) -> Result<usize, KeyringError> {
        let lock = KeyringLock::Passphrase(passphrase);
        let (_, other, _, _) = blocking(move || newest(&[Some(bytes)], &lock)).await??;
        let _writing = self.writing.lock().await;
        let mut ring = self.opened.read().ring.clone();
        let mut new = Vec::new();
        for mut entry in other.ring.entries {
            let known = ring.entries.iter().any(|known| known.id == entry.id);
            let Some(secret) = other.secrets.get(&entry.id).filter(|_| !known) else {
                continue;
            };
            let has_current =
                |known: &Entry| known.owner == entry.owner && known.state == KeyState::Current;
            if ring.entries.iter().any(has_current) {
                entry.state = KeyState::Retired;
            }
            entry.sealed = self.pair.seal(&entry, secret, &*self.entropy)?;
            new.push((entry.id, secret.clone()));
            ring.entries.push(entry);
        }
        self.write(ring).await?;
        let count = new.len();
        self.opened.write().secrets.extend(new);
        Ok(count)
    }

    fn known_current(&self, owner: &KeyOwner) -> Option<KeyVersionId> {
        self.opened.read().current.get(owner).copied()
    }

    /// Under the writer's lock.
    async fn add_version(&self, owner: &KeyOwner) -> Result<KeyVersionId, KeyringError> {
        let mut ring = self.opened.read().ring.clone();
        for entry in ring
            .entries
            .iter_mut()
            .filter(|entry| entry.owner == *owner)
        {
            if entry.state == KeyState::Current {
                entry.state = KeyState::Retired;
            }
        }
        let mut secret = Zeroizing::new([0; 32]);
        self.entropy.fill(&mut *secret);
        // Random numbers: nodes make versions without asking each other.
        let mut number = [0; 8];
        self.entropy.fill(&mut number);
        let id = KeyVersionId(u64::from_be_bytes(number) >> 1);
        let mut entry = Entry {
            id,
            owner: owner.clone(),
            created_ms: self.clock.unix_ms(),
            state: KeyState::Current,
            sealed: serde_bytes::ByteBuf::new(),
        };
        entry.sealed = self.pair.seal(&entry, &secret, &*self.entropy)?;
        ring.entries.push(entry);
        self.write(ring).await?;
        self.opened.write().secrets.insert(id, secret);
        Ok(id)
    }

    /// Writes the next generation and, once a majority has it, makes it the one in memory. True:
    /// every holder has it.
    async fn write(&self, mut ring: Ring) -> Result<bool, KeyringError> {
        // Raised in memory also where the write fails: some holder may have that generation.
        let generation = {
            let mut opened = self.opened.write();
            opened.ring.generation += 1;
            opened.ring.generation
        };
        ring.generation = generation;
        let everywhere = self.write_bytes(ring.encode(&self.lock)?).await?;
        self.opened.write().set(ring);
        Ok(everywhere)
    }

    async fn write_bytes(&self, bytes: Vec<u8>) -> Result<bool, KeyringError> {
        let holders = self.holders.read().clone();
        let bytes = Arc::new(bytes);
        let writes = holders.iter().map(|files| {
            let (files, bytes) = (Arc::clone(files), Arc::clone(&bytes));
            let name = files.drive();
            let write = tokio::task::spawn_blocking(move || match files.read(KEYRING_FILE) {
                Ok(same) if same == *bytes => Ok(()),
                _ => files.write(KEYRING_FILE, &bytes),
            });
            async move {
                let written = tokio::time::timeout(HOLDER_PATIENCE, write).await;
                let done = matches!(written, Ok(Ok(Ok(()))));
                if !done {
                    tracing::warn!(drive = %name, "drive has no copy of the keyring's latest state");
                }
                done
            }
        });
        let done = futures::future::join_all(writes).await;
        let written = done.iter().filter(|done| **done).count();
        let needed = holders.len() / 2 + 1;
        #[cfg(sabotage)]
        let needed = if engine_types::sabotage("keyring-one-copy") {
            1
        } else {
            needed
        };
        if written < needed {
            return Err(KeyringError::NoMajority {
                written,
                holders: holders.len(),
            });
        }
        Ok(written == holders.len())
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, KeyringError> {
    let done = tokio::task::spawn_blocking(job).await;
    done.map_err(|error| KeyringError::Internal(error.to_string()))
}

/// The files as they are; none where there is none or the drive does not answer.
async fn read_copies(holders: &[Arc<dyn DriveFiles>]) -> Vec<Option<Vec<u8>>> {
    let reads = holders.iter().map(|files| {
        let files = Arc::clone(files);
        let read = tokio::task::spawn_blocking(move || files.read(KEYRING_FILE));
        async move {
            match tokio::time::timeout(HOLDER_PATIENCE, read).await {
                Ok(Ok(Ok(bytes))) => Some(bytes),
                Ok(Ok(Err(DriveError::NotFound))) => None,
                other => {
                    tracing::warn!(?other, "keyring copy not read");
                    None
                }
            }
        }
    });
    futures::future::join_all(reads).await
}

/// The newest authentic copy, opened. Blocking.
fn newest(
    copies: &[Option<Vec<u8>>],
    lock: &KeyringLock,
) -> Result<(Vec<u8>, Opened, Pair, LockKey), KeyringError> {
    let mut worst = KeyringError::Absent;
    let mut rings: Vec<(Ring, &Vec<u8>)> = Vec::new();
    for bytes in copies.iter().flatten() {
        match Ring::decode(bytes) {
            Ok(ring) => rings.push((ring, bytes)),
            Err(error) => worst = error,
        }
    }
    rings.sort_by_key(|(ring, _)| std::cmp::Reverse(ring.generation));
    let mut derived: Option<LockKey> = None;
    for (ring, bytes) in rings {
        let key = match derived.take().filter(|key| key.kind == ring.lock) {
            Some(key) => Ok(key),
            None => LockKey::derive(lock, ring.lock),
        };
        let opened =
            key.and_then(|key| open(ring, bytes, &key).map(|(opened, pair)| (opened, pair, key)));
        match opened {
            Ok((opened, pair, key)) => return Ok((bytes.clone(), opened, pair, key)),
            Err(error) => worst = error,
        }
    }
    Err(worst)
}

fn open(ring: Ring, bytes: &[u8], key: &LockKey) -> Result<(Opened, Pair), KeyringError> {
    let pair = key.open_seed(&ring.seed)?;
    Ring::authenticate(bytes, key)?;
    let mut secrets = BTreeMap::new();
    for entry in ring
        .entries
        .iter()
        .filter(|entry| entry.state != KeyState::Destroyed)
    {
        secrets.insert(entry.id, pair.open(entry)?);
    }
    Ok((Opened::new(ring, secrets), pair))
}
