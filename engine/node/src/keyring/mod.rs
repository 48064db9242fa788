//! The secrets of key versions, sealed in a file of every drive, outside raft log and tables: one
//! lost drive loses nothing, one stolen drive tells nothing, and destroying a key destroys the data
//! under it.
//!
//! A version is used only once it is durable on a majority of control's voters' drives. Opening reads
//! a majority of them, takes the newest copy that is authentic and brings the others up to it, so an old
//! drive that rejoins loses what was destroyed meanwhile; control keeps the numbers of what was destroyed
//! beside it, so that neither an import nor a copy older than all others brings any back.

mod copies;
mod error;
mod file;
mod lock;
mod moving;
mod opened;
mod pair;
mod reading;
mod rewrap;
mod write;

pub use copies::{KEYRING_FILE, OLD_FILE, Voters};
pub use error::KeyringError;
pub use file::{KEYRING_BYTES_MAX, KeyOwner, KeyState};
pub use lock::{
    ARGON2_LANES_MAX, ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, KEY_FILE_BYTES_MIN, KeyringLock,
};
pub use moving::Restored;
pub use opened::open_unauthenticated;
pub use rewrap::{RewrapPhase, RewrapStatus, VersionProgress};

pub(crate) use rewrap::Rewrapper;

use copies::{Copies, asked};
use engine_core::meta::KeyVersionId;
use engine_core::ports::{Clock, DriveFiles, Entropy};
use engine_types::{BootId, DriveId};
use file::{Entry, Ring};
use lock::{LockKey, LockKind};
use opened::{Opened, newest};
use pair::Pair;
use parking_lot::{Mutex, RwLock};
use reading::{enough, files, read_copies};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use write::{Secrets, Turn, first_generation};
use zeroize::Zeroizing;

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

/// What a keyring is opened over.
#[derive(Clone)]
pub struct KeyringParts {
    /// Who holds copies.
    pub holders: Vec<Arc<dyn DriveFiles>>,
    /// A majority of whose drives is read before one is the newest, and written before it is in force;
    /// none: of the holders.
    pub voters: Option<Voters>,
    /// This start's number: what it writes is newer than all that an earlier one wrote.
    pub boot: BootId,
    /// Of keys, salts, nonces.
    pub entropy: Arc<dyn Entropy>,
    /// When a version was made.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for KeyringParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyringParts")
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

/// The keyring of a node.
pub struct Keyring {
    opened: Arc<RwLock<Opened>>,
    /// One writer at a time.
    writing: Arc<tokio::sync::Mutex<()>>,
    pair: Pair,
    lock: LockKey,
    copies: Arc<Copies>,
    /// This start writes none below.
    first_generation: u64,
    rewrap: Mutex<RewrapStatus>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("generation", &self.opened.read().ring.generation)
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Opens the newest copy; where no drive has one, makes it.
    pub async fn open_or_create(
        parts: KeyringParts,
        lock: KeyringLock,
    ) -> Result<Self, KeyringError> {
        match Self::open(parts.clone(), lock.clone()).await {
            Err(KeyringError::Absent) => Self::create(parts, lock).await,
            other => other,
        }
    }

    /// Makes an empty keyring; durable on a majority once Ok.
    pub async fn create(parts: KeyringParts, lock: KeyringLock) -> Result<Self, KeyringError> {
        if !files(read_copies(&parts.holders).await).is_empty() {
            return Err(KeyringError::Exists);
        }
        let entropy = Arc::clone(&parts.entropy);
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
        let opened = Opened::new(ring.clone(), BTreeMap::new());
        let keyring = Self::over(parts, opened, (pair, lock));
        let turn = keyring.turn().await;
        keyring.write(turn, ring, Secrets::Same).await?;
        Ok(keyring)
    }

    /// Opens the newest copy that is authentic and writes it where another is, or none, or a damaged
    /// one. A drive that cannot take it now is mended later ([`Self::mend`]).
    ///
    /// # Errors
    /// `NotRead` while too few drives answer to tell which is the newest, `Absent`, `WrongLock`,
    /// `LockKind`, `Newer`, or what is wrong with the best copy there is.
    pub async fn open(parts: KeyringParts, lock: KeyringLock) -> Result<Self, KeyringError> {
        let copies = read_copies(&parts.holders).await;
        enough(&copies, &asked(&parts.holders, parts.voters.as_ref()))?;
        let found = blocking(move || newest(&files(copies), &lock)).await??;
        let keyring = Self::over(parts, found.opened, (found.pair, found.lock));
        let generation = keyring.generation();
        keyring.copies.mend(generation, || Some(found.bytes)).await;
        Ok(keyring)
    }

    fn over(parts: KeyringParts, opened: Opened, (pair, lock): (Pair, LockKey)) -> Self {
        Self {
            opened: RwLock::new(opened).into(),
            writing: Arc::default(),
            pair,
            lock,
            copies: Copies::new(parts.holders, parts.voters).into(),
            first_generation: first_generation(parts.boot),
            rewrap: Mutex::default(),
            entropy: parts.entropy,
            clock: parts.clock,
        }
    }

    /// Replaces the drives that hold copies and brings them up to date.
    pub async fn set_holders(&self, holders: Vec<Arc<dyn DriveFiles>>) -> Result<(), KeyringError> {
        let _turn = self.turn().await;
        self.copies.set_holders(holders);
        let bytes = self.opened.read().ring.encode(&self.lock)?;
        self.copies.write(self.generation(), bytes).await
    }

    /// Brings one drive up to date before it is used: what was destroyed while it was away is erased
    /// on it. False: it cannot be written now, and must stay out.
    pub async fn bring_up(&self, files: Arc<dyn DriveFiles>) -> Result<bool, KeyringError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("rejoin-unerased") {
            return Ok(true);
        }
        let _turn = self.turn().await;
        let bytes = self.opened.read().ring.encode(&self.lock)?;
        let generation = self.generation();
        Ok(self.copies.bring_up(files, generation, bytes).await)
    }

    /// Writes the file again where an earlier write failed.
    pub async fn mend(&self) {
        let _turn = self.turn().await;
        let bytes = || self.opened.read().ring.encode(&self.lock).ok();
        self.copies.mend(self.generation(), bytes).await;
    }

    /// Of `drives`, those that may still hold a key that was destroyed.
    pub fn not_erased(&self, drives: &[DriveId]) -> Vec<DriveId> {
        let opened = self.opened.read();
        match opened.destroyed_at {
            Some(generation) => self.copies.behind(drives, generation),
            None => Vec::new(),
        }
    }

    /// The version that wraps now; made if the owner has none.
    pub async fn current(&self, owner: &KeyOwner) -> Result<KeyVersionId, KeyringError> {
        if let Some(id) = self.known_current(owner) {
            return Ok(id);
        }
        let turn = self.turn().await;
        match self.known_current(owner) {
            Some(id) => Ok(id),
            None => self.add_version(turn, owner).await,
        }
    }

    /// A new version for the owner, from now on the one that wraps; older ones open what they wrapped.
    pub async fn rotate(&self, owner: &KeyOwner) -> Result<KeyVersionId, KeyringError> {
        let turn = self.turn().await;
        self.add_version(turn, owner).await
    }

    /// The secret of a version; none if unknown or destroyed.
    pub fn secret(&self, version: KeyVersionId) -> Option<Zeroizing<[u8; 32]>> {
        self.opened.read().secrets.get(&version).cloned()
    }

    /// Whose a version is that no longer wraps, and is not destroyed.
    pub fn retired(&self, version: KeyVersionId) -> Option<KeyOwner> {
        let opened = self.opened.read();
        opened.retired.get(&version).cloned()
    }

    /// What people call the key of a version.
    pub fn name(&self, version: KeyVersionId) -> String {
        let opened = self.opened.read();
        let entry = opened.ring.entries.iter().find(|e| e.id == version);
        let Some(entry) = entry else {
            return format!("version {:016x}", version.0);
        };
        let owner = match &entry.owner {
            KeyOwner::System => "system".into(),
            KeyOwner::Account(account) => format!("account {}", account.0),
            KeyOwner::Kms(name) => name.clone(),
        };
        match entry.state {
            KeyState::Destroyed => format!("{owner} (destroyed)"),
            KeyState::Current | KeyState::Retired => owner,
        }
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

    /// Erases every version of an owner, and with it the data they wrap; their numbers. Durable on a
    /// majority; [`Self::not_erased`] names the drives that have yet to erase.
    pub async fn destroy(&self, owner: &KeyOwner) -> Result<Vec<KeyVersionId>, KeyringError> {
        self.erase(|entry| entry.owner == *owner).await
    }

    /// Erases these versions, where they are not erased yet; those that were not.
    pub async fn destroy_versions(
        &self,
        versions: &BTreeSet<KeyVersionId>,
    ) -> Result<Vec<KeyVersionId>, KeyringError> {
        self.erase(|entry| versions.contains(&entry.id)).await
    }

    async fn erase(
        &self,
        which: impl Fn(&Entry) -> bool + Send,
    ) -> Result<Vec<KeyVersionId>, KeyringError> {
        let turn = self.turn().await;
        let mut ring = self.opened.read().ring.clone();
        let standing = |entry: &&mut Entry| entry.state != KeyState::Destroyed && which(entry);
        let mut erased = Vec::new();
        for entry in ring.entries.iter_mut().filter(standing) {
            erased.push(entry.id);
            #[cfg(sabotage)]
            if engine_types::sabotage("keep-destroyed-key") {
                continue;
            }
            entry.state = KeyState::Destroyed;
            entry.sealed.clear();
        }
        if erased.is_empty() {
            return Ok(erased);
        }
        self.write(turn, ring, Secrets::Go(erased.clone())).await?;
        Ok(erased)
    }

    fn generation(&self) -> u64 {
        self.opened.read().ring.generation
    }

    fn known_current(&self, owner: &KeyOwner) -> Option<KeyVersionId> {
        self.opened.read().current.get(owner).copied()
    }

    async fn add_version(
        &self,
        turn: Turn,
        owner: &KeyOwner,
    ) -> Result<KeyVersionId, KeyringError> {
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
        let come = Secrets::Come(BTreeMap::from([(id, secret)]));
        self.write(turn, ring, come).await?;
        Ok(id)
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, KeyringError> {
    let done = tokio::task::spawn_blocking(job).await;
    done.map_err(|error| KeyringError::Internal(error.to_string()))
}
