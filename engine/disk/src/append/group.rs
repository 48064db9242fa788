//! What is written with one sync.

use super::Op;
use tokio::sync::mpsc;

/// Bytes of records with which a group is closed: bounds the wait of the first of them.
const GROUP_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Most operations of one group.
const GROUP_OPS_MAX: usize = 512;

/// `first` and what has gathered behind it, in order, up to the limits.
pub(super) fn gather(first: Op, queue: &mut mpsc::Receiver<Op>) -> Vec<Op> {
    let mut bytes = record_bytes(&first);
    let mut group = vec![first];
    while group.len() < GROUP_OPS_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(next) = queue.try_recv() else { break };
        bytes = bytes.saturating_add(record_bytes(&next));
        group.push(next);
    }
    group
}

fn record_bytes(op: &Op) -> u64 {
    match op {
        Op::Append(header, ..) => u64::from(header.record_length()),
        Op::Free(..) | Op::Reseal(..) | Op::Close(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_sim::contracts::shard_store::shard;
    use engine_types::DriveUuid;
    use tokio::sync::oneshot;

    fn reseal(segment: u64) -> Op {
        Op::Reseal(segment, oneshot::channel().0)
    }

    fn append(length: u32) -> Op {
        let (header, payload) = shard(DriveUuid([1; 16]), 5, 1, length);
        Op::Append(Box::new(header), payload, oneshot::channel().0)
    }

    /// How many of these go into the group of the first.
    fn group_of(ops: Vec<Op>) -> usize {
        let (to, mut queue) = mpsc::channel(ops.len());
        for op in ops {
            to.try_send(op).expect("room");
        }
        let first = queue.try_recv().expect("one");
        gather(first, &mut queue).len()
    }

    #[test]
    fn a_group_has_so_many_operations_and_no_more() {
        let many = |count: usize| (0..count as u64).map(reseal).collect();
        assert_eq!(group_of(many(GROUP_OPS_MAX)), GROUP_OPS_MAX);
        assert_eq!(group_of(many(GROUP_OPS_MAX + 1)), GROUP_OPS_MAX);
    }

    #[test]
    fn a_group_is_closed_by_the_record_that_fills_it() {
        let quarter = u32::try_from(GROUP_BYTES_MAX / 4).expect("fits");
        let records = |length: u32| {
            vec![
                append(length),
                append(length),
                append(length),
                append(length),
                reseal(1),
            ]
        };
        // With its header a record is longer than its payload: four of these fill a group.
        assert_eq!(group_of(records(quarter)), 4);
        assert_eq!(group_of(records(quarter / 2)), 5);
        let less = quarter - 16 * 1024;
        assert_eq!(group_of(records(less)), 5, "a little is left");
    }
}
