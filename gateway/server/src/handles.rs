//! File handles of this process: as many as the system lets it have, and how they are shared.
//!
//! Connections and the files of drives come out of one number. If connections could take all, a
//! crowd of idle ones would keep the drives from opening their files.

use crate::admin::ADMIN_CONNECTIONS_MAX;
use crate::listen::CONNECTIONS_MAX;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept for logs, tables, listeners, the runtime and the admin port's connections …
pub(crate) const RESERVED: usize = 256 + ADMIN_CONNECTIONS_MAX;
/// … and for each drive: its open segments (256) and its tables.
pub(crate) const RESERVED_PER_DRIVE: usize = 320;
/// Fewer connections than this are no service.
pub(crate) const CONNECTIONS_MIN: usize = 64;

/// The limit leaves too little.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{limit} file handles are too few, {needed} are needed for these drives: raise the hard limit \
     (`ulimit -Hn`, LimitNOFILE=)"
)]
pub(crate) struct TooFew {
    limit: usize,
    needed: usize,
}

/// Raises the soft limit to the hard one; how many connections it bears beside `drives` drives.
pub(crate) fn connections(drives: usize) -> Result<usize, TooFew> {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "raise the limit of file handles");
        limit.current = soft;
    }
    // None: without limit.
    let handles = limit.current.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let connections = share(handles, drives)?;
    if connections < CONNECTIONS_MAX {
        tracing::warn!(
            handles,
            connections,
            "the limit of file handles bounds connections"
        );
    }
    Ok(connections)
}

/// Connections that `handles` bear.
fn share(handles: usize, drives: usize) -> Result<usize, TooFew> {
    let reserve = RESERVED.saturating_add(RESERVED_PER_DRIVE.saturating_mul(drives));
    let connections = handles.saturating_sub(reserve).min(CONNECTIONS_MAX);
    if connections < CONNECTIONS_MIN {
        return Err(TooFew {
            limit: handles,
            needed: reserve.saturating_add(CONNECTIONS_MIN),
        });
    }
    Ok(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_have_their_handles_before_connections() {
        let reserve = RESERVED + 6 * RESERVED_PER_DRIVE;
        assert_eq!(share(usize::MAX, 6), Ok(CONNECTIONS_MAX));
        assert_eq!(share(reserve + CONNECTIONS_MAX, 6), Ok(CONNECTIONS_MAX));
        assert_eq!(
            share(reserve + CONNECTIONS_MAX - 1, 6),
            Ok(CONNECTIONS_MAX - 1)
        );
        assert_eq!(share(reserve + CONNECTIONS_MIN, 6), Ok(CONNECTIONS_MIN));
    }

    #[test]
    fn one_handle_too_few_is_told() {
        let needed = RESERVED + 6 * RESERVED_PER_DRIVE + CONNECTIONS_MIN;
        let limit = needed - 1;
        assert_eq!(share(limit, 6), Err(TooFew { limit, needed }));
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        connections(1).expect("enough");
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
