//! One write of the keyring: the next generation onto the drives, and then into memory.
//!
//! It is a task of its own and ends whatever becomes of who asked for it. An upload is cut off at any
//! time, and a write that stopped half way would let the next begin while its copies are still on
//! their way to the drives: those of two generations would mix, and what memory says is in force
//! would be on no majority.

use super::copies::Copies;
use super::file::Ring;
use super::lock::LockKey;
use super::opened::Opened;
use super::{Keyring, KeyringError};
use engine_core::meta::KeyVersionId;
use engine_types::BootId;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

/// One writer at a time; whoever has it hands it to the write.
pub(super) type Turn = OwnedMutexGuard<()>;

/// What becomes of secrets in memory once the write is in force.
pub(super) enum Secrets {
    /// They stay as they are.
    Same,
    /// These come.
    Come(BTreeMap<KeyVersionId, Zeroizing<[u8; 32]>>),
    /// These are destroyed.
    Go(Vec<KeyVersionId>),
}

/// One start counts at most so many writes, as a power of two, before it reaches the next one's numbers.
const WRITES_BITS: u32 = 24;

/// The lowest generation of a start. What an earlier one left on too few drives, before it ended, was
/// never in force, and is older than all that a later one writes, whatever its number was: otherwise a
/// drive that was away meanwhile would bring it back as the newest.
pub(super) fn first_generation(boot: BootId) -> u64 {
    #[cfg(sabotage)]
    if engine_types::sabotage("keyring-counts-on") {
        return 0;
    }
    boot.0.saturating_mul(1 << WRITES_BITS)
}

struct Write {
    opened: Arc<RwLock<Opened>>,
    copies: Arc<Copies>,
    lock: LockKey,
    first_generation: u64,
    _turn: Turn,
}

impl Keyring {
    pub(super) async fn turn(&self) -> Turn {
        Arc::clone(&self.writing).lock_owned().await
    }

    /// Writes the next generation and, once a majority has it, makes it the one in memory.
    pub(super) async fn write(
        &self,
        turn: Turn,
        ring: Ring,
        secrets: Secrets,
    ) -> Result<(), KeyringError> {
        let write = Write {
            opened: Arc::clone(&self.opened),
            copies: Arc::clone(&self.copies),
            lock: self.lock.clone(),
            first_generation: self.first_generation,
            _turn: turn,
        };
        let written = tokio::spawn(write.run(ring, secrets)).await;
        written.map_err(|error| KeyringError::Internal(error.to_string()))?
    }
}

impl Write {
    async fn run(self, mut ring: Ring, secrets: Secrets) -> Result<(), KeyringError> {
        // Raised in memory also where the write fails: some holder may have that generation.
        let generation = {
            let mut opened = self.opened.write();
            opened.ring.generation = (opened.ring.generation + 1).max(self.first_generation);
            opened.ring.generation
        };
        ring.generation = generation;
        let written = match ring.encode(&self.lock) {
            Ok(bytes) => self.copies.write(generation, bytes).await,
            Err(error) => Err(error),
        };
        let mut opened = self.opened.write();
        if written.is_ok() {
            // In one step: nobody finds a current version whose secret is not there yet.
            opened.set(ring);
        } else {
            // What some drives hold now is not what is in force: the next write of that is above it.
            opened.ring.generation += 1;
        }
        let now = opened.ring.generation;
        match secrets {
            Secrets::Come(new) if written.is_ok() => opened.secrets.extend(new),
            Secrets::Same | Secrets::Come(_) => {}
            Secrets::Go(ids) => {
                opened.destroyed_at = Some(now);
                for id in ids.iter().filter(|_| written.is_ok()) {
                    #[cfg(sabotage)]
                    if engine_types::sabotage("keep-destroyed-key") {
                        continue;
                    }
                    opened.secrets.remove(id);
                }
            }
        }
        written
    }
}
