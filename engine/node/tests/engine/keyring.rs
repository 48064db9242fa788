//! The keyring on drives that fail, lag and are tampered with.

use crate::support::{key_file, keyring_parts};
use engine_core::ports::DriveFiles;
use engine_node::keyring::{
    KEYRING_BYTES_MAX, KEYRING_FILE, KeyOwner, KeyState, KeyringError, KeyringParts, OLD_FILE,
    Restored,
};
use engine_node::{Keyring, KeyringLock};
use engine_sim::FakeDrive;
use engine_types::{AccountId, BootId, DriveId, DriveUuid};
use std::collections::BTreeSet;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(crate) fn drives(count: u8) -> Vec<FakeDrive> {
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

/// Without voters: all holders count.
pub(crate) fn parts(drives: &[FakeDrive]) -> KeyringParts {
    keyring_parts(holders(drives), BootId(1))
}

/// Control's voters live on the first drives.
pub(crate) fn voted(parts: KeyringParts, voters: u32) -> KeyringParts {
    let voters: Vec<DriveId> = (1..=voters).map(DriveId).collect();
    KeyringParts {
        voters: Some(Arc::new(move || voters.clone())),
        ..parts
    }
}

pub(crate) async fn open(drives: &[FakeDrive], lock: KeyringLock) -> Result<Keyring, KeyringError> {
    Keyring::open(parts(drives), lock).await
}

async fn create(drives: &[FakeDrive], lock: KeyringLock) -> Keyring {
    Keyring::create(parts(drives), lock).await.unwrap()
}

fn passphrase(words: &str) -> KeyringLock {
    KeyringLock::Passphrase(Zeroizing::new(words.into()))
}

pub(crate) fn account(n: u64) -> KeyOwner {
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
    let exists = Keyring::create(parts(&drives), key_file()).await;
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

pub(crate) fn ids(drives: &[FakeDrive]) -> Vec<DriveId> {
    drives.iter().map(DriveFiles::drive).collect()
}

fn words() -> Zeroizing<String> {
    Zeroizing::new("words".into())
}

#[tokio::test]
async fn destroyed_is_destroyed_everywhere_and_not_imported() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    let id = keyring.current(&account(1)).await.unwrap();
    let kept = keyring.current(&account(2)).await.unwrap();
    let backup = keyring.export(words()).await.unwrap();
    assert!(keyring.not_erased(&ids(&drives)).is_empty());
    drives[2].set_full(true);
    assert_eq!(keyring.destroy(&account(1)).await.unwrap(), [id]);
    assert_eq!(
        keyring.not_erased(&ids(&drives)),
        [DriveId(3)],
        "one holder has it still"
    );
    drives[2].set_full(false);
    assert!(keyring.secret(id).is_none());
    let keyring = open(&drives, key_file()).await.unwrap();
    assert!(keyring.secret(id).is_none() && keyring.secret(kept).is_some());
    assert!(keyring.not_erased(&ids(&drives)).is_empty());
    assert_eq!(
        keyring.not_erased(&[DriveId(9)]),
        [DriveId(9)],
        "not seen since"
    );
    for drive in &drives {
        assert!(drive.read(KEYRING_FILE).unwrap() == drives[0].read(KEYRING_FILE).unwrap());
        assert!(drive.read(OLD_FILE).is_err(), "the older copy is erased");
    }
    let none = BTreeSet::new();
    let came = keyring.import(backup.clone(), words(), &none).await;
    assert_eq!((came, keyring.secret(id)), (Ok(Vec::new()), None));
    let destroyed = keyring.list().into_iter().find(|version| version.id == id);
    assert_eq!(destroyed.unwrap().state, KeyState::Destroyed);
    let elsewhere = create(&self::drives(1), key_file()).await;
    let refused = BTreeSet::from([id]);
    let came = elsewhere.import(backup.clone(), words(), &refused);
    assert_eq!(
        came.await,
        Ok(vec![kept]),
        "control says that one is destroyed"
    );
    assert_eq!(elsewhere.secret(id), None);
    let came = elsewhere.import(backup.clone(), words(), &none).await;
    assert_eq!(came, Ok(vec![id]));
    assert_eq!(elsewhere.secret(kept), keyring.secret(kept));
    assert_eq!(
        elsewhere.destroy_versions(&BTreeSet::from([id])).await,
        Ok(vec![id])
    );
    assert_eq!(elsewhere.secret(id), None);
    let wrong = elsewhere.import(backup, Zeroizing::new("other".into()), &none);
    assert_eq!(wrong.await.unwrap_err(), KeyringError::WrongLock);
}

#[tokio::test]
async fn a_drive_that_was_away_erases_before_it_is_used() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    let id = keyring.current(&account(1)).await.unwrap();
    let away = drives[2].clone();
    keyring.set_holders(holders(&drives[..2])).await.unwrap();
    keyring.destroy(&account(1)).await.unwrap();
    assert_eq!(keyring.not_erased(&ids(&drives)), [DriveId(3)]);
    away.set_full(true);
    let back: Arc<dyn DriveFiles> = Arc::new(away.clone());
    assert_eq!(
        keyring.bring_up(Arc::clone(&back)).await,
        Ok(false),
        "it stays out"
    );
    away.set_full(false);
    assert_eq!(keyring.bring_up(back).await, Ok(true));
    assert!(keyring.not_erased(&ids(&drives)).is_empty());
    let alone = open(&[away], key_file()).await.unwrap();
    assert_eq!(alone.secret(id), None);
}

#[tokio::test]
async fn a_cut_between_the_two_names_loses_nothing() {
    let drives = drives(2);
    let keyring = create(&drives, key_file()).await;
    let id = keyring.current(&account(1)).await.unwrap();
    for drive in &drives {
        drive.rename(KEYRING_FILE, OLD_FILE).unwrap();
    }
    let again = open(&drives, key_file()).await.unwrap();
    assert!(again.secret(id).is_some());
    for drive in &drives {
        assert!(drive.read(KEYRING_FILE).is_ok() && drive.read(OLD_FILE).is_err());
    }
    let exists = Keyring::create(parts(&drives), key_file()).await;
    assert_eq!(exists.unwrap_err(), KeyringError::Exists);
}

/// Objects that it seals may be acknowledged at once.
#[tokio::test]
async fn a_version_outlives_a_power_cut_of_all_drives() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    let id = keyring.current(&account(1)).await.unwrap();
    drives.iter().for_each(FakeDrive::power_cut);
    let again = open(&drives, key_file()).await.unwrap();
    assert!(again.secret(id).is_some());
}

#[tokio::test]
async fn a_version_is_on_a_majority_of_controls_voters() {
    let drives = drives(6);
    let parts = voted(parts(&drives), 5);
    let keyring = Keyring::create(parts, key_file()).await.unwrap();
    drives[1].set_full(true);
    drives[2].set_full(true);
    let id = keyring.current(&account(1)).await.unwrap();
    // Three of the six have room, but only two of them are voters'.
    drives[0].set_full(true);
    let refused = keyring.rotate(&account(1)).await;
    let short = KeyringError::NoMajority {
        written: 2,
        holders: 5,
    };
    assert_eq!(refused, Err(short));
    assert_eq!(keyring.current(&account(1)).await, Ok(id));
    for drive in &drives {
        drive.set_full(false);
    }
    keyring.mend().await;
    for drive in &drives {
        let alone = open(std::slice::from_ref(drive), key_file()).await.unwrap();
        assert!(alone.secret(id).is_some(), "mended");
    }
}

#[tokio::test]
async fn an_export_and_the_drives_restore_the_store_under_a_new_lock() {
    let drives = drives(3);
    let keyring = create(&drives, key_file()).await;
    let first = keyring.current(&account(1)).await.unwrap();
    let doomed = keyring.current(&account(2)).await.unwrap();
    let backup = keyring.export(words()).await.unwrap();
    let second = keyring.rotate(&account(1)).await.unwrap();
    keyring.destroy(&account(2)).await.unwrap();
    let secrets = [first, second].map(|id| keyring.secret(id).unwrap());
    drop(keyring);
    let restore = |words: &str| {
        let export = (backup.clone(), Zeroizing::new(words.to_owned()));
        Keyring::restore(parts(&drives), export, passphrase("new lock"))
    };
    assert_eq!(restore("other").await.unwrap_err(), KeyringError::WrongLock);
    assert!(
        open(&drives, key_file()).await.is_ok(),
        "nothing was changed"
    );
    let (_, restored) = restore("words").await.unwrap();
    let expected = Restored {
        versions: 2,
        from_drives: 1,
        lost: 0,
    };
    assert_eq!(restored, expected);
    let again = open(&drives, passphrase("new lock")).await.unwrap();
    assert_eq!([first, second].map(|id| again.secret(id).unwrap()), secrets);
    assert_eq!(again.current(&account(1)).await, Ok(second));
    assert_eq!(again.secret(doomed), None, "destroyed stays destroyed");
    let old = open(&drives, key_file()).await;
    assert!(matches!(old, Err(KeyringError::LockKind { .. })));
}

#[tokio::test]
async fn a_file_at_the_longest_and_one_past_it() {
    let drives = drives(1);
    let mut long = vec![0; KEYRING_BYTES_MAX + 1];
    long[..8].copy_from_slice(b"DMKEYRNG");
    let said = |error: KeyringError| error.to_string();
    for (length, what) in [
        (KEYRING_BYTES_MAX, "checksum mismatch"),
        (KEYRING_BYTES_MAX + 1, "not a keyring"),
    ] {
        drives[0].write(KEYRING_FILE, &long[..length]).unwrap();
        let error = said(open(&drives, key_file()).await.unwrap_err());
        assert!(error.contains(what), "{length}: {error}");
    }
}
