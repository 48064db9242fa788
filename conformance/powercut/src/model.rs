//! A recorded process's files, event by event; and what a cut at any moment may leave of them.

use crate::file::{BLOCK, Blocks, Change, File, Toll};
use crate::names::{Names, Naming, Node};
use rand::rngs::StdRng;
use recorder::{Event, Kind};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Written at once when a cut's files are made.
const RUN_BYTES: usize = 1 << 20;

/// All files below the recorded root.
#[derive(Debug, Default)]
pub(crate) struct Model {
    files: Vec<File>,
    /// Which file an inode is now: numbers are reused.
    inodes: BTreeMap<u64, usize>,
    names: Names,
}

/// Something was recorded that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("the recording has a hole: {0}")]
pub(crate) struct Hole(String);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn two(bytes: &[u8]) -> Result<(String, String), Hole> {
    let all = text(bytes);
    let (a, b) = all.split_once('\0').ok_or_else(|| Hole(all.clone()))?;
    Ok((a.into(), b.into()))
}

impl Model {
    fn file(&mut self, event: &Event) -> Result<&mut File, Hole> {
        let handle = self.inodes.get(&event.inode);
        let handle = *handle.ok_or_else(|| Hole(format!("{:?} of an unknown file", event.kind)))?;
        Ok(&mut self.files[handle])
    }

    /// Takes the next event.
    pub(crate) fn follow(&mut self, event: &Event) -> Result<(), Hole> {
        match event.kind {
            Kind::Create => {
                self.files.push(File::default());
                let handle = self.files.len() - 1;
                self.inodes.insert(event.inode, handle);
                self.names
                    .change(Naming::Make(text(&event.data), Node::File(handle)));
            }
            Kind::Open => {
                if !self.inodes.contains_key(&event.inode) {
                    return Err(Hole(format!(
                        "{} was there before the recording",
                        text(&event.data)
                    )));
                }
            }
            Kind::Mkdir => self
                .names
                .change(Naming::Make(text(&event.data), Node::Directory)),
            Kind::Write => self
                .file(event)?
                .change(Change::Write(event.offset, event.data.clone())),
            Kind::Truncate => self.file(event)?.change(Change::Truncate(event.offset)),
            Kind::Allocate => {
                if let Some(change) = allocation(event)? {
                    self.file(event)?.change(change);
                }
            }
            Kind::SyncBegin => self.file(event)?.sync_begins(event.thread),
            Kind::SyncEnd => self.file(event)?.sync_ended(event.thread),
            Kind::DirSyncBegin => self.names.sync_begins(event.thread),
            Kind::DirSyncEnd => self.names.sync_ended(event.thread, &text(&event.data)),
            Kind::Rename => {
                let (from, to) = two(&event.data)?;
                self.names.change(Naming::Rename(from, to));
            }
            Kind::Link => {
                let (from, to) = two(&event.data)?;
                self.names.change(Naming::Link(from, to));
            }
            Kind::Unlink => self.names.change(Naming::Remove(text(&event.data))),
            Kind::Unseen => return Err(Hole(text(&event.data))),
        }
        Ok(())
    }

    /// Writes below `to` what a power cut now may leave of what lay below `root`. Counts by kind of
    /// file what it did.
    pub(crate) fn cut(
        &self,
        root: &str,
        to: &Path,
        random: &mut StdRng,
        tolls: &mut BTreeMap<String, Toll>,
    ) -> std::io::Result<()> {
        let (tree, lost_names) = self.names.cut(random);
        tolls.entry("names".into()).or_default().dropped += lost_names;
        for (path, node) in &tree {
            let Some(rest) = path.strip_prefix(root) else {
                continue;
            };
            let target = to.join(rest.trim_start_matches('/'));
            match node {
                Node::Directory => std::fs::create_dir_all(&target)?,
                Node::File(handle) => {
                    let toll = tolls.entry(kind_of(rest)).or_default();
                    let (blocks, length) = self.files[*handle].cut(random, toll);
                    if let Some(parent) = target.parent() {
                        std::fs::create_dir_all(parent)?;
                    }
                    let file = std::fs::File::create(&target)?;
                    write_blocks(&file, &blocks)?;
                    file.set_len(length)?;
                }
            }
        }
        Ok(())
    }
}

/// Blocks that follow one another in one write, up to [`RUN_BYTES`].
fn write_blocks(file: &std::fs::File, blocks: &Blocks) -> std::io::Result<()> {
    let (mut run, mut begin) = (Vec::with_capacity(RUN_BYTES), 0);
    for (number, block) in blocks {
        let at = number * BLOCK;
        if at != begin + run.len() as u64 || run.len() >= RUN_BYTES {
            file.write_all_at(&run, begin)?;
            run.clear();
            begin = at;
        }
        run.extend_from_slice(block.as_slice());
    }
    file.write_all_at(&run, begin)
}

fn allocation(event: &Event) -> Result<Option<Change>, Hole> {
    const KEEP_SIZE: i32 = 1;
    const PUNCH: i32 = 3;
    let (mode, length) = event
        .data
        .split_at_checked(4)
        .ok_or_else(|| Hole("fallocate".into()))?;
    let mode = i32::from_le_bytes(mode.try_into().map_err(|_e| Hole("fallocate".into()))?);
    let length = u64::from_le_bytes(length.try_into().map_err(|_e| Hole("fallocate".into()))?);
    match mode {
        0 => Ok(Some(Change::Extend(event.offset + length))),
        KEEP_SIZE => Ok(None),
        PUNCH => Ok(Some(Change::Punch(event.offset, length))),
        other => Err(Hole(format!("fallocate mode {other}"))),
    }
}

/// `/d1/segments/…` → `segments`.
pub(crate) fn kind_of(path: &str) -> String {
    path.trim_start_matches('/')
        .split('/')
        .nth(1)
        .unwrap_or("root")
        .to_owned()
}
