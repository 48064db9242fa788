//! One event of the log, and reading them back.

use std::io::Read;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A file came to be: inode, path.
    Create = 1,
    /// A file that was there was opened: inode, path.
    Open = 2,
    /// A directory came to be: path.
    Mkdir = 3,
    /// Bytes: inode, offset, data.
    Write = 4,
    /// New length: inode, offset.
    Truncate = 5,
    /// fallocate: inode, offset, length (data: mode as 4 bytes LE, then length as 8).
    Allocate = 6,
    /// fsync or fdatasync began: inode.
    SyncBegin = 7,
    /// It ended well.
    SyncEnd = 8,
    /// fsync of a directory began: path.
    DirSyncBegin = 9,
    /// It ended well.
    DirSyncEnd = 10,
    /// path NUL path.
    Rename = 11,
    /// File or directory removed: path.
    Unlink = 12,
    /// path NUL path.
    Link = 13,
    /// Something the model cannot follow: what.
    Unseen = 14,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{
            Allocate, Create, DirSyncBegin, DirSyncEnd, Link, Mkdir, Open, Rename, SyncBegin,
            SyncEnd, Truncate, Unlink, Unseen, Write,
        };
        [
            Create,
            Open,
            Mkdir,
            Write,
            Truncate,
            Allocate,
            SyncBegin,
            SyncEnd,
            DirSyncBegin,
            DirSyncEnd,
            Rename,
            Unlink,
            Link,
            Unseen,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Header bytes: length of data (4), kind (1), inode (8), offset (8), thread (4).
pub(crate) const HEADER: usize = 25;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// Which file; 0 where a path says it.
    pub inode: u64,
    /// Where in it.
    pub offset: u64,
    /// Which thread: pairs a sync's begin and end.
    pub thread: u32,
    /// Bytes, or path.
    pub data: Vec<u8>,
    /// Where the event ends in the log.
    pub end: u64,
}

pub(crate) fn header(
    kind: Kind,
    inode: u64,
    offset: u64,
    thread: u32,
    length: usize,
) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes[4] = kind as u8;
    bytes[5..13].copy_from_slice(&inode.to_le_bytes());
    bytes[13..21].copy_from_slice(&offset.to_le_bytes());
    bytes[21..25].copy_from_slice(&thread.to_le_bytes());
    bytes
}

fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// The whole events of a log, in order and one at a time: a recording is larger than memory should
/// hold. A torn tail is left out.
#[derive(Debug)]
pub struct Events<R> {
    log: R,
    at: u64,
}

impl<R: Read> Events<R> {
    /// Of a log read from its beginning.
    pub fn new(log: R) -> Self {
        Self { log, at: 0 }
    }

    fn next_whole(&mut self) -> std::io::Result<Option<Event>> {
        let mut head = [0; HEADER];
        self.log.read_exact(&mut head)?;
        let Some(kind) = Kind::from_byte(head[4]) else {
            return Ok(None);
        };
        let mut data = vec![0; u32::from_le_bytes(number(&head)) as usize];
        self.log.read_exact(&mut data)?;
        self.at += (HEADER + data.len()) as u64;
        Ok(Some(Event {
            kind,
            inode: u64::from_le_bytes(number(&head[5..])),
            offset: u64::from_le_bytes(number(&head[13..])),
            thread: u32::from_le_bytes(number(&head[21..])),
            data,
            end: self.at,
        }))
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = std::io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_whole() {
            Ok(event) => event.map(Ok),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_round_trip_and_a_torn_tail_is_left_out() {
        let mut log = header(Kind::Write, 7, 4096, 3, 5).to_vec();
        log.extend(b"hello");
        let whole = log.len();
        log.extend(header(Kind::SyncEnd, 7, 0, 3, 0));
        let read = |log: &[u8]| Events::new(log).collect::<Result<Vec<_>, _>>().unwrap();
        let events = read(&log);
        assert_eq!(events.len(), 2);
        assert_eq!(
            (
                events[0].kind,
                events[0].inode,
                events[0].offset,
                events[0].end
            ),
            (Kind::Write, 7, 4096, whole as u64)
        );
        assert_eq!(events[0].data, b"hello");
        assert_eq!(read(&log[..log.len() - 1]).len(), 1);
        assert_eq!(read(&log[..whole - 1]).len(), 0);
    }
}
