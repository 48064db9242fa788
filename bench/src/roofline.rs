//! What the machine can do, stage by stage, with the engine's own kernels: the figures from which the
//! limit of a workload is computed. Each is the best of a few short rounds (noise only slows down).

use engine_core::erasure::{Codec, encode};
use engine_core::format::crc32c;
use engine_core::md5::{LANES_MAX, Md5, update_together};
use engine_core::seal::{DataKey, Sealer};
use engine_core::stripes::{FRAME_PLAIN, FRAME_SEALED};
use engine_types::{BirthId, DataId, Stamp};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds of each measure; the best counts.
const ROUNDS: usize = 5;
/// Bytes worked on in a round: out of the caches nearest to the core, as a stripe is.
const BYTES: usize = 32 << 20;
/// Records appended in a round of the log's measure.
const APPENDS: usize = 64;
/// Bytes of a small object's log record.
const RECORD_BYTES: usize = 5 << 10;

/// Rates, 10^9 bytes a second of one core, unless said.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Roofline {
    /// `memcpy`.
    pub memcpy: f64,
    /// AES-256-GCM over frames, in place.
    pub aes_gcm: f64,
    /// MD5 of one stream.
    pub md5_one: f64,
    /// MD5 of eight streams together, sum.
    pub md5_eight: f64,
    /// MD5 of all lanes together, sum.
    pub md5_all: f64,
    /// Reed-Solomon 4+2, data bytes.
    pub encode: f64,
    /// CRC32C.
    pub crc32c: f64,
    /// SHA-256: a signed payload.
    pub sha256: f64,
    /// A loopback connection: bytes over the CPU time of both its ends.
    pub tcp: f64,
    /// `pread` of what is in the page cache.
    pub page_cache: f64,
    /// Appends of 5 KiB with one fdatasync each, a second.
    pub appends_per_s: f64,
    /// Appends of 64 records of 5 KiB with one fdatasync, records a second.
    pub group_appends_per_s: f64,
}

/// Measures all of it; files go to `directory`.
///
/// # Errors
/// Of the file or the loopback connection.
pub fn measure(directory: &Path) -> std::io::Result<Roofline> {
    let mut from = vec![0x5a_u8; BYTES];
    let mut to = vec![0_u8; BYTES];
    Ok(Roofline {
        memcpy: rate(BYTES, || to.copy_from_slice(&from)),
        aes_gcm: seal(&mut from),
        md5_one: md5(&from, 1),
        md5_eight: md5(&from, 8),
        md5_all: md5(&from, LANES_MAX),
        encode: parity(&from),
        crc32c: rate(BYTES, || {
            std::hint::black_box(crc32c(&from));
        }),
        sha256: rate(BYTES, || {
            std::hint::black_box(ring::digest::digest(&ring::digest::SHA256, &from));
        }),
        tcp: loopback(&from)?,
        page_cache: cached(directory, &from, &mut to)?,
        appends_per_s: appends(directory, 1)?,
        group_appends_per_s: appends(directory, APPENDS)?,
    })
}

fn best(mut round: impl FnMut() -> Duration) -> f64 {
    let shortest = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX);
    shortest.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let seconds = best(|| {
        let started = Instant::now();
        work();
        started.elapsed()
    });
    bytes as f64 / seconds / 1e9
}

fn seal(bytes: &mut [u8]) -> f64 {
    rate(BYTES, || {
        let mut sealer = Sealer::new(
            DataKey::from_entropy([7; 32]),
            DataId::born(Stamp(0), [0; 10]),
        );
        for frame in bytes.chunks_exact_mut(FRAME_SEALED) {
            let result = sealer.seal(frame, false);
            debug_assert!(result.is_ok(), "a whole frame");
        }
    })
}

fn md5(bytes: &[u8], streams: usize) -> f64 {
    rate(BYTES, || {
        let mut sums = vec![Md5::default(); streams];
        let share = bytes.len() / streams;
        for at in (0..share).step_by(FRAME_PLAIN) {
            let pieces = bytes.chunks_exact(share);
            let frames = pieces.map(|piece| &piece[at..share.min(at + FRAME_PLAIN)]);
            update_together(&mut sums.iter_mut().zip(frames).collect::<Vec<_>>());
        }
        std::hint::black_box(sums);
    })
}

fn parity(bytes: &[u8]) -> f64 {
    let data: Vec<&[u8]> = bytes.chunks_exact(bytes.len() / 4).collect();
    let mut parity = vec![vec![0; bytes.len() / 4]; 2];
    rate(BYTES, || {
        let mut rows: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        let encoded = encode(Codec::Cauchy, (4, 2), &data, &mut rows);
        debug_assert!(encoded.is_ok(), "4+2 of equal shards");
    })
}

/// What this process has used of the processors.
fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(used.tv_sec), u32::try_from(used.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// By CPU time, not by the clock: neither end is busy all the time, and the rest is others'.
fn loopback(bytes: &[u8]) -> std::io::Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let mut failed = None;
    let seconds = best(|| {
        let before = cpu_time();
        let result = std::thread::scope(|threads| {
            let sent = threads.spawn(|| sender.write_all(bytes));
            let mut buffer = vec![0; 256 << 10];
            let mut left = bytes.len();
            while left > 0 {
                let most = buffer.len().min(left);
                left -= receiver.read(&mut buffer[..most])?;
            }
            sent.join().map_err(|_panic| std::io::ErrorKind::Other)?
        });
        failed = failed.take().or(result.err());
        cpu_time().saturating_sub(before)
    });
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    failed.map_or(Ok(bytes.len() as f64 / seconds / 1e9), Err)
}

fn cached(directory: &Path, bytes: &[u8], to: &mut [u8]) -> std::io::Result<f64> {
    let path = directory.join("roofline.read");
    std::fs::write(&path, bytes)?;
    let file = File::open(&path)?;
    std::fs::remove_file(&path)?;
    let mut failed = None;
    let found = rate(BYTES, || {
        failed = failed.take().or(file.read_exact_at(to, 0).err());
    });
    failed.map_or(Ok(found), Err)
}

/// Records a second where `group` of them share one fdatasync.
fn appends(directory: &Path, group: usize) -> std::io::Result<f64> {
    let path = directory.join("roofline.log");
    let mut file = File::create(&path)?;
    let record = vec![0x5a; RECORD_BYTES * group];
    let mut failed = None;
    let seconds = best(|| {
        let started = Instant::now();
        for _ in 0..APPENDS {
            let result = file.write_all(&record).and_then(|()| file.sync_data());
            failed = failed.take().or(result.err());
        }
        started.elapsed()
    });
    std::fs::remove_file(&path)?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    failed.map_or(Ok((APPENDS * group) as f64 / seconds), Err)
}
