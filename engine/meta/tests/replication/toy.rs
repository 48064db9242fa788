//! A state machine that stores what it is told.

use engine_meta::raft::machine::{At, Machine};
use engine_meta::rows::{Changes, Rows, RowsError};

/// First byte of the toy's rows.
const TAG: u8 = 0x10;

/// Stores `value` under `key` of a command made by [`put`], counts commands in a row of its own, and
/// answers with the count.
#[derive(Debug, Default)]
pub(crate) struct Toy;

pub(crate) fn put(key: &str, value: &[u8]) -> Vec<u8> {
    let mut command = vec![u8::try_from(key.len()).expect("short")];
    command.extend_from_slice(key.as_bytes());
    command.extend_from_slice(value);
    command
}

pub(crate) fn row_key(key: &str) -> Vec<u8> {
    [&[TAG], key.as_bytes()].concat()
}

impl Machine for Toy {
    fn apply(
        &self,
        rows: &dyn Rows,
        changes: &mut Changes,
        at: At,
        command: &[u8],
    ) -> Result<Vec<u8>, RowsError> {
        let (length, rest) = command.split_first().ok_or(RowsError("empty".into()))?;
        let (key, value) = rest.split_at(usize::from(*length));
        let counter = vec![TAG + 1];
        let count = rows.get(&counter)?.map_or(0, |count| {
            u64::from_le_bytes(count.try_into().expect("8 bytes"))
        });
        changes.put([&[TAG], key].concat(), value.to_vec());
        changes.put(counter, (count + 1).to_le_bytes().to_vec());
        changes.put(vec![TAG + 2], at.stamp.0.to_le_bytes().to_vec());
        Ok((count + 1).to_le_bytes().to_vec())
    }
}
