//! Which copy a start opens: never an older one while a newer may lie on a drive that was not read.

use crate::keyring::{account, drives, parts, voted};
use crate::support::key_file;
use engine_core::meta::KeyVersionId;
use engine_core::ports::DriveFiles;
use engine_node::Keyring;
use engine_node::keyring::{KEYRING_FILE, KeyringError, KeyringParts};
use engine_sim::FakeDrive;
use engine_types::BootId;

/// A start over some of the drives, three of which vote.
fn start(drives: &[FakeDrive], boot: u64) -> KeyringParts {
    let parts = KeyringParts {
        boot: BootId(boot),
        ..parts(drives)
    };
    voted(parts, 3)
}

/// Three drives, the first of which was away while the version was made.
async fn first_is_old() -> (Vec<FakeDrive>, KeyVersionId) {
    let drives = drives(3);
    let keyring = Keyring::create(start(&drives, 1), key_file())
        .await
        .unwrap();
    let old = drives[0].read(KEYRING_FILE).unwrap();
    let id = keyring.current(&account(1)).await.unwrap();
    drives[0].write(KEYRING_FILE, &old).unwrap();
    (drives, id)
}

async fn opened(drives: &[FakeDrive]) -> Result<Keyring, KeyringError> {
    Keyring::open(start(drives, 2), key_file()).await
}

const ONE_READ: KeyringError = KeyringError::NotRead {
    read: 1,
    holders: 3,
};

#[tokio::test]
async fn an_old_copy_does_not_open_while_newer_ones_may_lie_elsewhere() {
    let (drives, id) = first_is_old().await;
    let new = drives[2].read(KEYRING_FILE).unwrap();
    let two = [drives[0].clone(), drives[2].clone()];
    // The others are absent; then one is there, and does not answer, or damaged.
    assert_eq!(opened(&drives[..1]).await.unwrap_err(), ONE_READ);
    drives[2].fail("unreadable");
    assert_eq!(opened(&two).await.unwrap_err(), ONE_READ);
    drives[2].power_cut();
    assert!(drives[2].damage(KEYRING_FILE, 100));
    assert_eq!(opened(&two).await.unwrap_err(), ONE_READ);
    assert!(drives[2].damage(KEYRING_FILE, 100), "as it was");
    for drive in &drives[1..] {
        assert_eq!(drive.read(KEYRING_FILE).unwrap(), new, "left as it is");
    }
    let keyring = opened(&two).await.unwrap();
    assert!(keyring.secret(id).is_some());
    assert_eq!(drives[0].read(KEYRING_FILE).unwrap(), new, "brought up");
}

/// Nothing more can come: what is left is better than nothing.
#[tokio::test]
async fn the_best_copy_opens_once_every_voter_was_read() {
    let (drives, id) = first_is_old().await;
    assert!(drives[0].damage(KEYRING_FILE, 100) && drives[1].damage(KEYRING_FILE, 100));
    assert_eq!(opened(&drives[1..]).await.unwrap_err(), ONE_READ);
    let keyring = opened(&drives).await.unwrap();
    assert!(keyring.secret(id).is_some());
}

/// A drive that votes and has none yet is read: its absence is certain.
#[tokio::test]
async fn a_voter_without_a_copy_counts_as_read() {
    let (drives, id) = first_is_old().await;
    drives[0].remove(KEYRING_FILE).unwrap();
    let two = [drives[0].clone(), drives[1].clone()];
    let keyring = opened(&two).await.unwrap();
    assert!(keyring.secret(id).is_some());
    drives[1].remove(KEYRING_FILE).unwrap();
    drives[0].remove(KEYRING_FILE).unwrap();
    assert_eq!(opened(&two).await.unwrap_err(), KeyringError::Absent);
}

/// Whatever number it has.
#[tokio::test]
async fn what_an_earlier_start_left_on_too_few_drives_is_never_the_newest() {
    let drives = drives(3);
    let keyring = Keyring::create(start(&drives, 1), key_file())
        .await
        .unwrap();
    drives[..2].iter().for_each(|drive| drive.set_full(true));
    for _ in 0..5 {
        let refused = keyring.rotate(&account(1)).await;
        assert!(matches!(refused, Err(KeyringError::NoMajority { .. })));
    }
    drop(keyring);
    drives[..2].iter().for_each(|drive| drive.set_full(false));
    let keyring = opened(&drives[..2]).await.unwrap();
    let id = keyring.current(&account(2)).await.unwrap();
    drop(keyring);
    let keyring = Keyring::open(start(&drives, 3), key_file()).await.unwrap();
    assert!(keyring.secret(id).is_some(), "in force, and used");
    assert!(
        keyring
            .list()
            .iter()
            .all(|version| version.owner == account(2))
    );
}
