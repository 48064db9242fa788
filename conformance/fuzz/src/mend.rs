//! Sums and lengths made right again after a mutation. Each leaves what it does not understand alone.

use engine_core::format::crc32c;

/// The drive all logs here belong to: its uuid salts their sums.
pub const LOG_DRIVE: engine_types::DriveUuid = engine_types::DriveUuid([7; 16]);

/// Nothing to mend.
pub fn nothing(_bytes: &mut [u8]) {}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn little(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

/// A frame of `engine_core::format`: length at 10, CRC32C in its last four bytes, big-endian.
pub fn frame(bytes: &mut [u8]) {
    let Some(said) = bytes.get(10..).and_then(|b| b.first_chunk::<4>()).copied() else {
        return;
    };
    let said = usize::try_from(u32::from_be_bytes(said)).unwrap_or(usize::MAX);
    let length = if (18..=bytes.len()).contains(&said) {
        said
    } else {
        bytes.len()
    };
    if length < 18 {
        return;
    }
    put(bytes, 10, &u32::try_from(length).unwrap_or(0).to_be_bytes());
    let crc = crc32c(bytes.get(..length - 4).unwrap_or_default());
    put(bytes, length - 4, &crc.to_be_bytes());
}

/// `{"mark":…,"crc32c":"…"}`: the sum of the text between.
pub fn mark(bytes: &mut [u8]) {
    let find = |needle: &[u8]| bytes.windows(needle.len()).rposition(|w| w == needle);
    let Some(end) = find(b",\"crc32c\":\"") else {
        return;
    };
    let Some(text) = bytes.get(8..end) else {
        return;
    };
    let sum = format!("{:08x}", crc32c(text));
    put(bytes, end + 11, sum.as_bytes());
}

/// Length of the body at 8, CRC32C at the end, big-endian.
pub fn keyring(bytes: &mut [u8]) {
    let Some(body) = bytes.len().checked_sub(12 + 36) else {
        return;
    };
    put(bytes, 8, &u32::try_from(body).unwrap_or(0).to_be_bytes());
    let end = bytes.len() - 4;
    let crc = crc32c(bytes.get(..end).unwrap_or_default());
    put(bytes, end, &crc.to_be_bytes());
}

/// Records one behind another: each is chained to its predecessor, its sum salted with the drive.
pub fn log(bytes: &mut [u8]) {
    use engine_meta::log::record::{ALIGN, HEADER_BYTES, salt_of};
    let (mut at, mut prev) = (0_usize, None);
    while let Some(length) = little(bytes, at + 12) {
        let end = at + HEADER_BYTES + length;
        if end > bytes.len() {
            return;
        }
        if let Some(prev) = prev {
            put(bytes, at + 8, &u32::to_le_bytes(prev));
        }
        let crc = crc32c(bytes.get(at + 8..end).unwrap_or_default()) ^ salt_of(LOG_DRIVE);
        put(bytes, at + 4, &crc.to_le_bytes());
        (prev, at) = (Some(crc), end.next_multiple_of(ALIGN));
    }
}

/// Blocks one behind another, each with its sum; in the foot (kind 3) the sum of all before it.
pub fn snapshot(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = little(bytes, at) {
        let end = at + 8 + length;
        if length == 0 || end > bytes.len() {
            return;
        }
        if bytes.get(at + 8) == Some(&3) && length == 13 {
            let total = crc32c(bytes.get(..at).unwrap_or_default());
            put(bytes, end - 4, &total.to_le_bytes());
        }
        let crc = crc32c(bytes.get(at + 8..end).unwrap_or_default());
        put(bytes, at + 4, &crc.to_le_bytes());
        at = end;
    }
}

/// Records of 32 bytes, each with its sum at the end, big-endian.
pub fn frees(bytes: &mut [u8]) {
    for record in bytes.as_chunks_mut::<32>().0 {
        let crc = crc32c(&record[..28]);
        record[28..].copy_from_slice(&crc.to_be_bytes());
    }
}

/// The frames at the beginnings of blocks. Payloads keep their sums: those are in the frames.
pub fn segment(bytes: &mut [u8]) {
    const BLOCK: usize = 4096;
    for at in (0..bytes.len()).step_by(BLOCK) {
        let block = bytes.get_mut(at..).unwrap_or_default();
        if block.starts_with(b"DM") {
            frame(block);
        }
    }
}

/// By the kind in the first byte: a sum at the end, little- or big-endian, or of a pack's list.
pub fn small(bytes: &mut [u8]) {
    let Some((kind, rest)) = bytes.split_first_mut() else {
        return;
    };
    let Some(end) = rest.len().checked_sub(4) else {
        return;
    };
    let crc = crc32c(&rest[..end]);
    match *kind % 3 {
        0 => put(rest, end, &crc.to_le_bytes()),
        1 => put(rest, end, &crc.to_be_bytes()),
        _ => pack_list(rest),
    }
}

fn pack_list(bytes: &mut [u8]) {
    let Some(foot) = bytes.len().checked_sub(16) else {
        return;
    };
    let said = bytes.get(foot..).and_then(|b| b.first_chunk::<4>());
    let said = said.map_or(0, |said| u32::from_be_bytes(*said));
    let start = usize::try_from(said)
        .ok()
        .and_then(|said| foot.checked_sub(said));
    let crc = crc32c(bytes.get(start.unwrap_or(0)..foot).unwrap_or_default());
    put(bytes, foot + 4, &crc.to_be_bytes());
}
