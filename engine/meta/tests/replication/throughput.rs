//! How many commits a second, on real files with real fdatasync. Run by hand:
//! `RUSTFLAGS="--cfg slow" cargo test -p engine-meta --release --test replication throughput -- --nocapture`

use super::common::{Counter, RealClock, Toy, put};
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_meta::service::{MetaNode, MetaOptions};
use engine_types::{DriveId, DriveUuid, GroupId};
use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
struct RealDrive {
    id: u32,
    root: tempfile::TempDir,
    gone: Mutex<Option<String>>,
}

#[derive(Debug)]
struct RealFile {
    file: Arc<File>,
    length: u64,
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: std::io::Error) -> DriveError {
    match error.kind() {
        std::io::ErrorKind::NotFound => DriveError::NotFound,
        _ => DriveError::Failed(error.to_string()),
    }
}

impl LogFile for RealFile {
    fn len(&self) -> u64 {
        self.length
    }
    fn append_with_room(&mut self, bytes: &[u8], _room: u64) -> Result<(), DriveError> {
        self.file.write_all_at(bytes, self.length).map_err(failed)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
    fn sync(&mut self) -> Result<(), DriveError> {
        self.file.sync_data().map_err(failed)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError> {
        self.file.read_exact_at(buffer, offset).map_err(failed)
    }
    fn truncate(&mut self, length: u64) -> Result<(), DriveError> {
        self.length = length;
        self.file
            .set_len(length)
            .and_then(|()| self.file.sync_all())
            .map_err(failed)
    }
    fn reader(&self) -> Result<Box<dyn LogFile>, DriveError> {
        Ok(Box::new(Self {
            file: Arc::clone(&self.file),
            length: self.length,
        }))
    }
}

impl RealDrive {
    fn path(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        path
    }
}

impl DriveFiles for RealDrive {
    fn drive(&self) -> DriveId {
        DriveId(self.id)
    }
    fn uuid(&self) -> DriveUuid {
        DriveUuid([u8::try_from(self.id).expect("few"); 16])
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        std::fs::read(self.path(name)).map_err(failed)
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
        std::fs::write(self.path(name), bytes).map_err(failed)
    }
    fn remove(&self, name: &str) -> Result<(), DriveError> {
        let path = self.path(name);
        drop(std::fs::remove_file(&path).or_else(|_error| std::fs::remove_dir_all(&path)));
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DriveError> {
        std::fs::rename(self.path(from), self.path(to)).map_err(failed)
    }
    fn list(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else {
            return Ok(Vec::new());
        };
        let mut names: Vec<String> = entries
            .map(|e| {
                e.expect("readable")
                    .file_name()
                    .into_string()
                    .expect("ours")
            })
            .collect();
        names.sort();
        Ok(names)
    }
    fn open_log(&self, name: &str) -> Result<Box<dyn LogFile>, DriveError> {
        let open = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.path(name));
        let file = open.map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Box::new(RealFile {
            file: Arc::new(file),
            length,
        }))
    }
    fn directory(&self, name: &str) -> Result<PathBuf, DriveError> {
        let path = self.path(name);
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(path)
    }
    fn fail(&self, reason: &str) {
        self.gone.lock().get_or_insert(reason.to_owned());
    }
    fn failure(&self) -> Option<String> {
        self.gone.lock().clone()
    }
}

#[expect(clippy::print_stdout, reason = "a measurement's result")]
async fn measure(drives: u32, voters: usize, proposers: u32, bytes: usize) {
    let files: Vec<Arc<dyn DriveFiles>> = (1..=drives)
        .map(|id| {
            let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            Arc::new(RealDrive {
                id,
                root,
                gone: Mutex::default(),
            }) as Arc<dyn DriveFiles>
        })
        .collect();
    let options = MetaOptions {
        voters,
        ..MetaOptions::default()
    };
    let (clock, entropy) = (RealClock::new(), Arc::new(Counter::default()));
    let node = MetaNode::open(files, options, clock, entropy, Arc::new(Toy))
        .await
        .expect("opens");
    node.bootstrap().await.expect("formed");
    let syncs = |node: &MetaNode| {
        node.status()
            .drives
            .iter()
            .map(|drive| drive.syncs)
            .sum::<u64>()
    };
    let (began, before) = (Instant::now(), syncs(&node));
    let tasks: Vec<_> = (0..proposers)
        .map(|proposer| {
            let node = node.clone();
            tokio::spawn(async move {
                let (mut done, group) = (0_u32, GroupId(1 + proposer % 8));
                while began.elapsed() < Duration::from_secs(4) {
                    let command = put(&format!("{proposer}-{done}"), &vec![7; bytes]);
                    node.propose(group, command).await.expect("committed");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut commits = 0;
    for task in tasks {
        commits += task.await.expect("ran");
    }
    let seconds = began.elapsed().as_secs_f64();
    let (per_second, syncs) = (f64::from(commits) / seconds, syncs(&node) - before);
    println!(
        "{voters} voters on {drives} drives, {proposers} proposers of {bytes} B: {per_second:.0} commits/s, {syncs} syncs"
    );
    let reads = Instant::now();
    let mut count = 0_u32;
    while reads.elapsed() < Duration::from_secs(1) {
        let round = (0..64).map(|_| node.read(GroupId(1), |_, at| at));
        count += u32::try_from(futures::future::join_all(round).await.len()).expect("few");
    }
    println!("    {count} linearizable reads/s, 64 at a time");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_a_second() {
    for proposers in [1, 16, 64, 256] {
        measure(1, 1, proposers, 4096).await;
    }
    for proposers in [1, 16, 64, 256] {
        measure(6, 5, proposers, 4096).await;
    }
    measure(6, 5, 64, 300).await;
}
