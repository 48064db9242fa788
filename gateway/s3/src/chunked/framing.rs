//! aws-chunked framing, byte by byte: `SIZE[;chunk-signature=64 hex]\r\n`, that many bytes, `\r\n`; a
//! chunk of size 0 without data, trailers, the end. Pure; fed as bytes come; memory is bounded by one
//! size line and the trailers. Signatures are another's to check.

use super::trailers;
use std::ops::Range;

/// Least bytes of a chunk before the last one (S3: 8 KiB).
pub(crate) const CHUNK_BYTES_MIN: u64 = 8 << 10;
/// Most digits of a chunk's size, hexadecimal; s3s reads no more, and would overlook the rest.
pub(crate) const SIZE_DIGITS_MAX: usize = 8;
/// Longest line before a chunk, its end included, bytes.
pub(crate) const LINE_BYTES_MAX: usize = SIZE_DIGITS_MAX + EXTENSION.len() + SIGNATURE_DIGITS + 2;
/// Most bytes behind the last chunk.
pub(crate) const TRAILER_BYTES_MAX: usize = 16 << 10;

const EXTENSION: &str = ";chunk-signature=";
const SIGNATURE_DIGITS: usize = 64;

/// Why a body's framing is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FramingError {
    /// It ended before its last chunk, or holds another number of bytes than announced.
    #[error("the chunks are not the body that was announced")]
    Incomplete,
    /// No chunk stands where one must.
    #[error("the body is not framed as aws-chunked")]
    Malformed,
    /// A chunk below [`CHUNK_BYTES_MIN`] is not the last.
    #[error("a chunk before the last is below {CHUNK_BYTES_MIN} bytes")]
    SmallChunk,
    /// Trailers are unreadable, or others than announced.
    #[error("the trailers are not those announced")]
    Trailer,
}

/// Where in the body the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Line,
    /// In a chunk that lacks so many bytes.
    Data(u64),
    /// In the line end behind a chunk.
    DataEnd(u8),
    Trailer,
}

/// Reads one body.
#[derive(Debug)]
pub(crate) struct Framing {
    signed: bool,
    announced: Option<&'static str>,
    length: u64,
    at: At,
    /// The line or trailers that stand at `at`, as far as they came.
    kept: Vec<u8>,
    /// The last chunk was small: another may not follow.
    small: bool,
    payload: u64,
}

impl Framing {
    /// `signed`: every chunk carries a signature, else none does. `announced`: the one trailer that
    /// must come, lower case. `length`: bytes of the payload.
    pub(crate) fn new(signed: bool, announced: Option<&'static str>, length: u64) -> Self {
        Self {
            signed,
            announced,
            length,
            at: At::Line,
            kept: Vec::new(),
            small: false,
            payload: 0,
        }
    }

    /// Takes the next bytes, and says which of them are payload.
    pub(crate) fn take(
        &mut self,
        piece: &[u8],
        mut payload: impl FnMut(Range<usize>),
    ) -> Result<(), FramingError> {
        let mut from = 0;
        while let Some(rest) = piece.get(from..).filter(|rest| !rest.is_empty()) {
            from += match self.at {
                At::Line => self.line(rest)?,
                At::Data(left) => {
                    let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    payload(from..from + here);
                    let left = left - here as u64;
                    self.at = match left {
                        0 => At::DataEnd(b'\r'),
                        left => At::Data(left),
                    };
                    here
                }
                At::DataEnd(expected) => {
                    if rest.first() != Some(&expected) {
                        return Err(FramingError::Malformed);
                    }
                    self.at = match expected {
                        b'\r' => At::DataEnd(b'\n'),
                        _ => At::Line,
                    };
                    1
                }
                At::Trailer => {
                    if self.kept.len() + rest.len() > TRAILER_BYTES_MAX {
                        return Err(FramingError::Trailer);
                    }
                    self.kept.extend_from_slice(rest);
                    rest.len()
                }
            };
        }
        Ok(())
    }

    /// The body has ended; its trailers.
    pub(crate) fn finish(self) -> Result<Vec<(String, String)>, FramingError> {
        if self.at != At::Trailer || self.payload != self.length {
            return Err(FramingError::Incomplete);
        }
        trailers::parse(&self.kept, self.signed, self.announced)
    }

    /// Takes what belongs to a chunk's first line; how many bytes that were.
    fn line(&mut self, rest: &[u8]) -> Result<usize, FramingError> {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let here = end.map_or(rest.len(), |end| end + 1);
        if self.kept.len() + here > LINE_BYTES_MAX {
            return Err(FramingError::Malformed);
        }
        self.kept
            .extend_from_slice(rest.get(..here).unwrap_or_default());
        if end.is_some() {
            let size = size_of(&self.kept, self.signed).ok_or(FramingError::Malformed)?;
            self.kept.clear();
            self.begin(size)?;
        }
        Ok(here)
    }

    fn begin(&mut self, size: u64) -> Result<(), FramingError> {
        if size == 0 {
            self.at = At::Trailer;
            return Ok(());
        }
        if self.small {
            return Err(FramingError::SmallChunk);
        }
        self.small = size < CHUNK_BYTES_MIN;
        self.payload += size;
        if self.payload > self.length {
            return Err(FramingError::Incomplete);
        }
        self.at = At::Data(size);
        Ok(())
    }
}

/// The size a chunk's first line says.
fn size_of(line: &[u8], signed: bool) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let (size, signature) = match line.split_once(EXTENSION) {
        Some((size, signature)) => (size, Some(signature)),
        None => (line, None),
    };
    let well_signed = signature.is_some_and(|s| s.len() == SIGNATURE_DIGITS);
    let fits = !size.is_empty() && size.len() <= SIZE_DIGITS_MAX;
    let hex = size.bytes().all(|b| b.is_ascii_hexdigit());
    if fits && hex && well_signed == signed && (signed || signature.is_none()) {
        u64::from_str_radix(size, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRC: &str = "x-amz-checksum-crc32";
    type Read = Result<(Vec<u8>, usize), FramingError>;

    /// Payload and number of trailers, the body fed `step` bytes at a time.
    fn read(framing: Framing, body: &[u8], step: usize) -> Read {
        let (mut framing, mut payload) = (framing, Vec::new());
        for piece in body.chunks(step) {
            framing.take(piece, |range| payload.extend_from_slice(&piece[range]))?;
        }
        Ok((payload, framing.finish()?.len()))
    }

    fn unsigned(length: u64) -> Framing {
        Framing::new(false, Some(CRC), length)
    }

    fn chunk(data: &[u8]) -> Vec<u8> {
        let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        framed
    }

    const END: &[u8] = b"0\r\nx-amz-checksum-crc32:AA==\r\n\r\n";

    fn body(chunks: &[&[u8]]) -> Vec<u8> {
        let mut all: Vec<u8> = chunks.iter().flat_map(|data| chunk(data)).collect();
        all.extend_from_slice(END);
        all
    }

    #[test]
    fn pieces_of_any_size_read_as_the_whole_does() {
        let first = vec![b'\n'; 9000];
        let whole = body(&[&first, b"\r\n0\r\n"]);
        let expected = Ok(([&first[..], b"\r\n0\r\n"].concat(), 1));
        for step in [1, 2, 3, 7, 4096, whole.len()] {
            assert_eq!(read(unsigned(9005), &whole, step), expected, "{step}");
        }
        // Cut anywhere before its trailer is whole, it is not the body that was announced.
        for cut in (0..whole.len() - END.len() + 2).chain([whole.len() - END.len() + 3]) {
            let read = read(unsigned(9005), &whole[..cut], 512);
            assert!(read.is_err(), "{cut}");
        }
    }

    #[test]
    fn chunks_at_the_least_size_and_one_below_it() {
        let least = usize::try_from(CHUNK_BYTES_MIN).expect("fits");
        for (size, verdict) in [
            (least, None),
            (least - 1, Some(FramingError::SmallChunk)),
            (1, Some(FramingError::SmallChunk)),
        ] {
            let (first, second) = (vec![1; size], [2; 10]);
            let read = read(unsigned(size as u64 + 10), &body(&[&first, &second]), 1000);
            assert_eq!(read.err(), verdict, "{size}");
        }
        assert!(read(unsigned(1), &body(&[b"x"]), 1000).is_ok());
    }

    #[test]
    fn the_payload_is_as_long_as_announced() {
        for (announced, verdict) in [
            (100, None),
            (99, Some(FramingError::Incomplete)),
            (101, Some(FramingError::Incomplete)),
            (0, Some(FramingError::Incomplete)),
        ] {
            let read = read(unsigned(announced), &body(&[&[0; 100]]), 64);
            assert_eq!(read.err(), verdict, "{announced}");
        }
        assert_eq!(read(unsigned(0), END, 5), Ok((vec![], 1)));
    }

    #[test]
    fn lines_that_are_none() {
        let signature = "0".repeat(SIGNATURE_DIGITS);
        let signed = format!("3{EXTENSION}{signature}\r\n");
        let longest = format!(
            "{}3{EXTENSION}{signature}\r\n",
            "0".repeat(SIZE_DIGITS_MAX - 1)
        );
        assert_eq!(longest.len(), LINE_BYTES_MAX);
        for (line, signs, good) in [
            ("3\r\n", false, true),
            ("00000003\r\n", false, true),
            ("000000003\r\n", false, false),
            ("3\n", false, false),
            ("\r\n", false, false),
            ("-3\r\n", false, false),
            ("+3\r\n", false, false),
            ("0x3\r\n", false, false),
            ("3;a=b\r\n", false, false),
            ("zz\r\n", false, false),
            ("3\r\n", true, false),
            (signed.as_str(), true, true),
            (signed.as_str(), false, false),
            (longest.as_str(), true, true),
            (&format!("0{longest}"), true, false),
            (&signed.replace("00\r", "0\r"), true, false),
        ] {
            let mut framing = Framing::new(signs, None, 3);
            let taken = framing.take(line.as_bytes(), |_| {});
            assert_eq!(taken.is_ok(), good, "{line:?}");
        }
        let endless = [b'6'; LINE_BYTES_MAX + 1];
        let mut framing = unsigned(3);
        assert_eq!(framing.take(&endless[1..], |_| {}), Ok(()));
        assert_eq!(framing.take(b"6", |_| {}), Err(FramingError::Malformed));
    }

    #[test]
    fn trailers_at_the_limit_and_one_past_it() {
        for (length, good) in [(TRAILER_BYTES_MAX, true), (TRAILER_BYTES_MAX + 1, false)] {
            let mut framing = Framing::new(false, None, 0);
            framing.take(b"0\r\n", |_| {}).expect("last chunk");
            let taken = framing.take(&vec![b'\n'; length], |_| {});
            assert_eq!(taken.is_ok() && framing.finish().is_ok(), good, "{length}");
        }
    }
}
