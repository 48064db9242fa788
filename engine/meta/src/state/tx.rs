//! One command's view of the tables and what it has changed so far. Refused: all of it is dropped.

use crate::keys;
use crate::rows::{Changes, Overlay, Row, Rows, RowsError};
use engine_core::meta::{BucketRef, BucketRow, Refusal};
use engine_tenancy::{Charges, Counter, Delta};
use engine_types::{BucketId, ChargedTo, CommandId, Order, Stamp, StorageClass, VersionId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ops::Bound;

/// Why a command goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nothing changes but that this was answered.
    Refused(Refusal),
    /// The tables cannot be read: the replica stops.
    Rows(RowsError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<RowsError> for Stop {
    fn from(error: RowsError) -> Self {
        Self::Rows(error)
    }
}

/// What a step of apply comes to.
pub(crate) type Step<T> = Result<T, Stop>;

/// A row's value read.
pub(crate) fn read<T: DeserializeOwned>(
    rows: &dyn Rows,
    key: &[u8],
) -> Result<Option<T>, RowsError> {
    rows.get(key)?.map(|value| parse(&value)).transpose()
}

/// A row's value.
pub(crate) fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, RowsError> {
    engine_core::meta::decode(value).map_err(|error| RowsError(error.to_string()))
}

/// Rows that begin with `prefix`, ascending.
pub(crate) fn scan<'a>(
    rows: &'a dyn Rows,
    prefix: &[u8],
) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
    rows.scan(Bound::Included(prefix), &keys::above(prefix))
}

/// Time and order inside the state machine (**format**).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// Stamp of the last applied entry, and the last version's count within it.
    pub(crate) order: Order,
    /// Commands applied since old answers were last removed.
    pub(crate) since_forgot: u32,
    /// Answers up to this command id are removed; none is ever added below.
    pub(crate) forgotten: [u8; 16],
}

/// One command being applied.
pub(crate) struct Tx<'a> {
    below: Overlay<'a>,
    own: Changes,
    charges: Charges,
    pub(crate) clock: Clock,
    /// Log index of the entry.
    pub(crate) index: u64,
    /// The command.
    pub(crate) command: CommandId,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(below: Overlay<'a>, clock: Clock, index: u64, command: CommandId) -> Self {
        Self {
            below,
            own: Changes::default(),
            charges: Charges::default(),
            clock,
            index,
            command,
        }
    }

    /// All rows as they will be.
    pub(crate) fn rows(&self) -> Overlay<'_> {
        Overlay {
            below: &self.below,
            changes: &self.own,
        }
    }
    /// The partition's stamp.
    pub(crate) fn now(&self) -> Stamp {
        self.clock.order.stamp
    }
    /// The next place in apply order.
    pub(crate) fn next_order(&mut self) -> Order {
        let order = &mut self.clock.order;
        *order = match order.seq.checked_add(1) {
            Some(seq) => Order {
                stamp: order.stamp,
                seq,
            },
            // A clock set back for weeks: time goes on by itself rather than an order come twice.
            None => Order {
                stamp: order.stamp.plus_ms(1),
                seq: 0,
            },
        };
        *order
    }
    /// A version id for that place: entropy from the command, so that every replica makes the same.
    pub(crate) fn version_id(&self, order: Order) -> VersionId {
        let mut entropy = [0; 6];
        entropy.copy_from_slice(&self.command.0[10..]);
        VersionId::Id { order, entropy }
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, RowsError> {
        read(&self.rows(), key)
    }
    pub(crate) fn exists(&self, key: &[u8]) -> Result<bool, RowsError> {
        Ok(self.rows().get(key)?.is_some())
    }
    pub(crate) fn write<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.own.put(key, engine_core::meta::encode(value));
    }
    pub(crate) fn write_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.own.put(key, value);
    }
    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.own.delete(key);
    }
    /// Up to `limit` rows that begin with `prefix`.
    pub(crate) fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Row>, RowsError> {
        scan(&self.rows(), prefix).take(limit).collect()
    }
    /// Whether any row begins with `prefix`.
    pub(crate) fn any(&self, prefix: &[u8]) -> Result<bool, RowsError> {
        Ok(!self.scan(prefix, 1)?.is_empty())
    }
    /// Deletes every row that begins with `prefix`; callers know why they are few.
    pub(crate) fn delete_all(&mut self, prefix: &[u8]) -> Result<(), RowsError> {
        for (key, _) in self.scan(prefix, usize::MAX)? {
            self.delete(key);
        }
        Ok(())
    }

    /// The bucket of an object command: there, of the epoch the proposer knew, open.
    pub(crate) fn open_bucket(&self, bucket: BucketRef) -> Step<BucketRow> {
        let row = known_bucket(&self.rows(), bucket)?.ok_or(Refusal::StaleBucket)?;
        if row.closed {
            return Err(Refusal::NoSuchBucket.into());
        }
        Ok(row)
    }

    /// Counts `delta` against whoever pays for something in `bucket`.
    pub(crate) fn charge(
        &mut self,
        bucket: BucketId,
        to: ChargedTo,
        class: &StorageClass,
        delta: Delta,
    ) {
        self.charges.add(bucket, to, class, delta);
    }

    /// Writes what was charged into the counters' rows. Once, at the end of a command that succeeds.
    pub(crate) fn settle(&mut self) -> Result<(), RowsError> {
        let now = self.now();
        for (scope, class, delta) in std::mem::take(&mut self.charges).into_changes() {
            #[cfg(sabotage)]
            if engine_types::sabotage("forget-counter")
                && matches!(scope, engine_tenancy::Scope::Key(_))
            {
                continue;
            }
            let key = keys::counter(scope, &class);
            let mut counter: Counter = self.read(&key)?.unwrap_or_default();
            counter
                .apply(delta, now)
                .map_err(|error| RowsError(format!("{scope:?}: {error}")))?;
            self.write(key, &counter);
        }
        Ok(())
    }

    /// Drops everything the command has done.
    pub(crate) fn roll_back(&mut self, clock: Clock) {
        self.own = Changes::default();
        self.charges = Charges::default();
        self.clock = clock;
    }
    /// What the command has done.
    pub(crate) fn into_changes(self) -> Changes {
        self.own
    }
}

/// The bucket, if it is here and of that epoch.
pub(crate) fn known_bucket(
    rows: &dyn Rows,
    bucket: BucketRef,
) -> Result<Option<BucketRow>, RowsError> {
    let row: Option<BucketRow> = read(rows, &keys::bucket(bucket.id))?;
    #[cfg(sabotage)]
    if engine_types::sabotage("skip-epoch") {
        return Ok(row);
    }
    Ok(row.filter(|row| row.epoch == bucket.epoch))
}
