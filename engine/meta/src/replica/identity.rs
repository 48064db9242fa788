//! Which replica of a group a drive holds: `replicas/g<group>` (**format**), replaced atomically.

use super::ReplicaError;
use crate::log::record::crc32c;
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::GroupId;

/// Where identities lie on the drive.
const DIRECTORY: &str = "replicas";
const VERSION: u8 = 1;
/// Ends the name of an identity that was put aside.
const ASIDE: &str = ".disowned";

/// Who a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id in the group: drive number above 32 random bits. Never used again once the replica
    /// has forgotten a vote or an entry.
    pub id: u64,
    /// Which keyspace holds its tables.
    pub generation: u64,
}

impl Identity {
    fn name(group: GroupId) -> String {
        format!("{DIRECTORY}/g{group}")
    }

    fn aside(group: GroupId) -> String {
        format!("{DIRECTORY}/g{group}{ASIDE}")
    }

    /// The groups with a replica on the drive. Blocking.
    pub fn groups(files: &dyn DriveFiles) -> Result<Vec<GroupId>, DriveError> {
        let names = files.list(DIRECTORY)?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_prefix('g')?.parse().ok().map(GroupId))
            .collect())
    }

    /// The groups whose replica here was disowned and is not made anew yet. Blocking.
    pub fn disowned(files: &dyn DriveFiles) -> Result<Vec<GroupId>, DriveError> {
        let names = files.list(DIRECTORY)?;
        let group = |name: &String| name.strip_prefix('g')?.strip_suffix(ASIDE)?.parse().ok();
        Ok(names.iter().filter_map(group).map(GroupId).collect())
    }

    /// The replica of `group` here must never vote again: its identity is put aside, durably. All
    /// else stays until the group has made another, so that nothing is thrown away while there may
    /// be nothing to make it from. Idempotent. Blocking.
    pub fn disown(files: &dyn DriveFiles, group: GroupId) -> Result<(), DriveError> {
        match files.read(&Self::name(group)) {
            Ok(_) => files.rename(&Self::name(group), &Self::aside(group)),
            Err(DriveError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What was disowned is gone from the drive. Blocking.
    pub fn forget_disowned(files: &dyn DriveFiles, group: GroupId) -> Result<(), DriveError> {
        files.remove(&Self::aside(group))
    }

    /// Reads it; none if the drive holds no replica of the group. Blocking.
    ///
    /// # Errors
    /// `Damaged` where its bytes are nobody's: that is this group's loss, and not the drive's.
    pub fn read(files: &dyn DriveFiles, group: GroupId) -> Result<Option<Self>, ReplicaError> {
        let bytes = match files.read(&Self::name(group)) {
            Ok(bytes) => bytes,
            Err(DriveError::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let whole = |bytes: &[u8]| {
            let sum = bytes.split_last_chunk::<4>();
            sum.is_some_and(|(head, sum)| *sum == crc32c(head).to_le_bytes())
        };
        if let Some(version) = bytes.first().filter(|v| **v > VERSION && whole(&bytes)) {
            return Err(ReplicaError::Drive(DriveError::Corrupt(format!(
                "{} was written by a newer DataMesh (version {version}; this build reads up to \
                 {VERSION}): run that release",
                Self::name(group)
            ))));
        }
        let parsed = bytes.split_first_chunk::<17>().filter(|(head, sum)| {
            head[0] == VERSION && *sum == crc32c(head.as_slice()).to_le_bytes()
        });
        let Some((head, _)) = parsed else {
            return Err(ReplicaError::Damaged(format!(
                "{} is not an identity any more",
                Self::name(group)
            )));
        };
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Ok(Some(Self {
            id: long(1),
            generation: long(9),
        }))
    }

    /// Writes it, durably. Blocking.
    pub fn write(&self, files: &dyn DriveFiles, group: GroupId) -> Result<(), DriveError> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        let sum = crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        files.write(&Self::name(group), &bytes)
    }
}
