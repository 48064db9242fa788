//! The keyring on drives that fail, lag and are tampered with.

use crate::support::{TestEntropy, clock, key_file};
use engine_core::ports::{DriveFiles, Entropy};
use engine_node::keyring::{KEYRING_FILE, KeyOwner, KeyState, KeyringError};
use engine_node::{Keyring, KeyringLock};
use engine_sim::FakeDrive;
use engine_types::{AccountId, DriveId, DriveUuid};
use std::sync::Arc;
use zeroize::Zeroizing;

fn drives(count: u8) -> Vec<FakeDrive> {
    (1..=count)
        .map(|n| FakeDrive::new(DriveId(u32::from(n)), DriveUuid([n; 16])))
        .collect()
}

fn holders(drives: &[FakeDrive]) -> Vec<Arc<dyn DriveFiles>> {
    drives
        .iter()
        .map(|drive| Arc::new(drive.clone()) as Arc<dyn DriveFiles>)
        .collect()
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(TestEntropy)
}

async fn open(drives: &[FakeDrive], lock: KeyringLock) -> Result<Keyring, KeyringError> {
    Keyring::open(holders(drives), lock, entropy(), clock()).await
}

async fn create(drives: &[FakeDrive], lock: KeyringLock) -> Keyring {
    Keyring::create(holders(drives), lock, entropy(), clock())
        .await
        .unwrap()
}

fn passphrase(words: &str) -> KeyringLock {
    KeyringLock::Passphrase(Zeroizing::new(words.into()))
}

fn account(n: u64) -> KeyOwner {
    KeyOwner::Account(AccountId(n))
}

#[tokio::test]
async fn secrets_come_back_under_either_lock() {
    for lock in [key_file(), passphrase("correct horse")] {
        let drives = drives(3);
        assert_eq!(
            open(&drives, lock.clone()).await.unwrap_err(),
            KeyringError::Absent
        );
        let keyring = create(&drives, lock.clone()).await;
        let first = keyring.current(&account(1)).await.unwrap();
        assert_eq!(keyring.current(&account(1)).await.unwrap(), first);
        let other = keyring.current(&account(2)).await.unwrap();
        let second = keyring.rotate(&account(1)).await.unwrap();
        let secrets = [first, other, second].map(|id| keyring.secret(id).unwrap());
        assert!(secrets[0] != secrets[1] && secrets[0] != secrets[2]);
        let file = drives[0].read(KEYRING_FILE).unwrap();
        for secret in &secrets {
            assert!(
                !file.windows(32).any(|window| window == &secret[..]),
                "no secret in the clear"
            );
        }
        let again = open(&drives, lock).await.unwrap();
        assert_eq!(
            [first, other, second].map(|id| again.secret(id).unwrap()),
            secrets
        );
        assert_eq!(again.current(&account(1)).await.unwrap(), second);
        assert_eq!(again.list(), keyring.list());
    }
}

#[tokio::test]
async fn the_wrong_lock_says_so() {
    let drives = drives(3);
    drop(create(&drives, passphrase("right")).await);
    assert_eq!(
        open(&drives, passphrase("wrong")).await.unwrap_err(),
        KeyringError::WrongLock
    );
    assert!(matches!(
        open(&drives, key_file()).await.unwrap_err(),
        KeyringError::LockKind { .. }
    ));
    let exists = Keyring::create(holders(&drives), key_file(), entropy(), clock()).await;
    assert_eq!(exists.unwrap_err(), KeyringError::Exists);
    let drives = self::drives(1);
    drop(create(&drives, key_file()).await);
    let other = KeyringLock::KeyFile(Zeroizing::new(vec![8; 32]));
    assert_eq!(
        open(&drives, other).await.unwrap_err(),
        KeyringError::WrongLock
    );
    let short = KeyringLock::KeyFile(Zeroizing::new(vec![7; 31]));
    assert_eq!(
        open(&drives, short).await.unwrap_err(),
        KeyringError::KeyFileTooShort
    );
}

#[tokio::test]
async fn old_and_damaged_copies_are_brought_up_to_date() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    let old = drives[0].read(KEYRING_FILE).unwrap();
    let id = keyring.current(&account(1)).await.unwrap();
    let new = drives[1].read(KEYRING_FILE).unwrap();
    drives[0].write(KEYRING_FILE, &old).unwrap();
    assert!(drives[2].damage(KEYRING_FILE, 100));
    let keyring = open(&drives, key_file()).await.unwrap();
    assert!(keyring.secret(id).is_some());
    for drive in &drives {
        assert!(drive.read(KEYRING_FILE).unwrap() == new);
    }
}

#[tokio::test]
async fn no_single_changed_byte_is_believed() {
    let drives = drives(1);
    let keyring = create(&drives, key_file()).await;
    keyring.current(&account(1)).await.unwrap();
    let file = drives[0].read(KEYRING_FILE).unwrap();
    for at in 0..file.len() {
        drives[0].damage(KEYRING_FILE, at);
        let opened = open(&drives, key_file()).await;
        assert!(
            matches!(opened, Err(KeyringError::Damaged(_))),
            "byte {at}: {opened:?}"
        );
        drives[0].write(KEYRING_FILE, &file).unwrap();
    }
    // Whoever mends the CRC still lacks the lock.
    let mut forged = file.clone();
    let end = forged.len() - 4;
    forged[end - 40] ^= 1;
    let crc = engine_core::format::crc32c(&forged[..end]).to_be_bytes();
    forged[end..].copy_from_slice(&crc);
    drives[0].write(KEYRING_FILE, &forged).unwrap();
    let opened = open(&drives, key_file()).await;
    assert!(opened.is_err(), "{opened:?}");
}

#[tokio::test]
async fn a_version_needs_a_majority() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    drives[0].set_full(true);
    let id = keyring.current(&account(1)).await.unwrap();
    drives[1].set_full(true);
    let refused = keyring.rotate(&account(1)).await;
    assert_eq!(
        refused,
        Err(KeyringError::NoMajority {
            written: 1,
            holders: 3
        })
    );
    assert_eq!(
        keyring.current(&account(1)).await.unwrap(),
        id,
        "it is not used"
    );
    drives[1].set_full(false);
    let next = keyring.rotate(&account(1)).await.unwrap();
    drives[0].set_full(false);
    let again = open(&drives, key_file()).await.unwrap();
    assert_eq!(again.current(&account(1)).await.unwrap(), next);
}

#[tokio::test]
async fn destroyed_is_destroyed_everywhere_and_not_imported() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    let id = keyring.current(&account(1)).await.unwrap();
    let kept = keyring.current(&account(2)).await.unwrap();
    let backup = keyring
        .export(Zeroizing::new("words".into()))
        .await
        .unwrap();
    drives[2].set_full(true);
    assert!(
        !keyring.destroy(&account(1)).await.unwrap(),
        "one holder has it still"
    );
    drives[2].set_full(false);
    assert!(keyring.secret(id).is_none());
    let keyring = open(&drives, key_file()).await.unwrap();
    assert!(keyring.secret(id).is_none() && keyring.secret(kept).is_some());
    assert!(drives[2].read(KEYRING_FILE).unwrap() == drives[0].read(KEYRING_FILE).unwrap());
    let came = keyring
        .import(backup.clone(), Zeroizing::new("words".into()))
        .await
        .unwrap();
    assert_eq!((came, keyring.secret(id)), (0, None));
    let destroyed = keyring
        .list()
        .into_iter()
        .find(|version| version.id == id)
        .unwrap();
    assert_eq!(destroyed.state, KeyState::Destroyed);
    let elsewhere = create(&self::drives(1), key_file()).await;
    assert_eq!(
        elsewhere
            .import(backup.clone(), Zeroizing::new("words".into()))
            .await
            .unwrap(),
        2
    );
    assert_eq!(elsewhere.secret(kept), keyring.secret(kept));
    let wrong = elsewhere
        .import(backup, Zeroizing::new("other".into()))
        .await;
    assert_eq!(wrong.unwrap_err(), KeyringError::WrongLock);
}
