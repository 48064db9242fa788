//! The threads everything runs on.

use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Threads for work that blocks: 48 reads of six drives and the metadata's look-ups at once. Each holds
/// a stack and the allocator's own cache, some 150 KiB, so a burst must not leave tokio's 512 behind.
const BLOCKING_THREADS_MAX: usize = 128;
/// One that has nothing to do ends after so long.
const BLOCKING_IDLE: Duration = Duration::from_secs(1);

/// A runtime as the server uses it.
pub(crate) fn build() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_IDLE)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn so_many_block_at_once_and_one_more_waits() {
        let runtime = build().unwrap();
        let (tell, told) = mpsc::sync_channel(BLOCKING_THREADS_MAX + 1);
        let mut gates = Vec::new();
        for number in 0..=BLOCKING_THREADS_MAX {
            let (open, gate) = mpsc::sync_channel::<()>(1);
            gates.push(open);
            let tell = tell.clone();
            runtime.spawn_blocking(move || {
                tell.send(number).unwrap();
                // Ends when its gate is dropped.
                gate.recv().unwrap_err();
            });
        }
        let first: Vec<_> = told.iter().take(BLOCKING_THREADS_MAX).collect();
        assert_eq!(first.len(), BLOCKING_THREADS_MAX);
        told.try_recv().unwrap_err();
        gates.remove(first[0]);
        assert_eq!(told.recv().unwrap(), BLOCKING_THREADS_MAX);
    }
}
