//! MD5 of the stripes being hashed now, side by side.
//!
//! Every upload's MD5 is serial, but uploads are independent: one thread takes a frame of each stripe
//! at hand and hashes all of them in one go ([`engine_core::md5`]). Sixteen go in little more than
//! the time of one, so the thread is not a bottleneck for the cores it serves; a stripe that comes
//! while others are under way joins them at the next frame. Hashing each on a thread of its own was
//! two thirds of the work of a PUT.

use crate::EngineError;
use crate::buffers::Buffer;
use engine_core::md5::{LANES_MAX, Md5, update_together};
use engine_core::stripes::{FRAME_PLAIN, FRAME_SEALED};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Cores one thread serves: sixteen lanes hash as fast as they can seal and encode.
const CORES_PER_THREAD: usize = 8;

/// One stripe, its plaintext in frames.
struct Job {
    md5: Md5,
    stripe: Buffer,
    /// Where the next frame begins, and plaintext bytes from there on.
    at: usize,
    left: usize,
    done: oneshot::Sender<(Md5, Buffer)>,
}

impl Job {
    fn next(&mut self) -> (&mut Md5, &[u8]) {
        let count = self.left.min(FRAME_PLAIN);
        let frame = &self.stripe[self.at..self.at + count];
        self.at += FRAME_SEALED;
        self.left -= count;
        (&mut self.md5, frame)
    }
}

/// The threads. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct HashLanes {
    queues: Vec<mpsc::Sender<Job>>,
    turn: AtomicUsize,
}

impl HashLanes {
    /// Starts them. Where the system gives no thread, uploads of stripes answer that.
    pub(crate) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let queues = (0..cores.div_ceil(CORES_PER_THREAD)).map(|_| {
            let (queue, jobs) = mpsc::channel(LANES_MAX);
            let thread = std::thread::Builder::new().name("md5".into());
            if let Err(error) = thread.spawn(move || work(jobs)) {
                tracing::error!(%error, "no thread for hashing");
            }
            queue
        });
        Self {
            queues: queues.collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Hashes `plain` bytes that stand in the frames of `stripe` and gives both back. Dropping the
    /// future lets a started job end unheard.
    pub(crate) async fn hash(
        &self,
        md5: Md5,
        stripe: Buffer,
        plain: usize,
    ) -> Result<(Md5, Buffer), EngineError> {
        let ended = || EngineError::Internal("the hashing thread ended".into());
        let (done, hashed) = oneshot::channel();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.queues.len();
        let job = Job {
            md5,
            stripe,
            at: 0,
            left: plain,
            done,
        };
        let sent = self.queues[turn].send(job).await;
        sent.map_err(|_closed| ended())?;
        hashed.await.map_err(|_closed| ended())
    }
}

fn work(mut jobs: mpsc::Receiver<Job>) {
    let mut active = Vec::with_capacity(LANES_MAX);
    loop {
        if active.is_empty() {
            let Some(job) = jobs.blocking_recv() else {
                return;
            };
            active.push(job);
        }
        while active.len() < LANES_MAX
            && let Ok(job) = jobs.try_recv()
        {
            active.push(job);
        }
        let mut frames: Vec<_> = active.iter_mut().map(Job::next).collect();
        update_together(&mut frames);
        for job in active.extract_if(.., |job| job.left == 0) {
            // Whoever asked may be gone.
            drop(job.done.send((job.md5, job.stripe)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Turn;
    use crate::buffers::{BUFFER_BUDGET_BYTES_MIN, Buffers};
    use std::time::Duration;

    #[tokio::test]
    async fn many_stripes_at_once_are_hashed_as_each_alone() {
        let lanes = HashLanes::start();
        let buffers = Buffers::new(BUFFER_BUDGET_BYTES_MIN, Duration::from_secs(5));
        let jobs = (0..LANES_MAX + 3).map(|i| {
            let (lanes, buffers) = (&lanes, &buffers);
            async move {
                let plain = FRAME_PLAIN + i * 1000;
                let grant = buffers.grant(3 * FRAME_SEALED, Turn::New).await.unwrap();
                let mut stripe = buffers.buffer(3 * FRAME_SEALED, grant);
                stripe.fill(u8::try_from(i).unwrap());
                let (md5, _stripe) = lanes.hash(Md5::default(), stripe, plain).await.unwrap();
                let due = engine_core::digest::md5(&vec![u8::try_from(i).unwrap(); plain]);
                assert_eq!(md5.finish(), due, "{i}");
            }
        });
        futures::future::join_all(jobs).await;
    }
}
