//! `multipart/form-data` up to the file: fields, then where the file begins. Pure; fed as bytes come.

use super::Fields;
use super::part::part_head;
use super::search::Search;
use s3s::{S3Error, S3Result, s3_error};

/// Largest text before the file, bytes: fields, their headers, boundaries.
pub(crate) const PREFIX_BYTES_MAX: usize = 256 << 10;
/// Longest boundary (RFC 2046), bytes.
pub(crate) const BOUNDARY_BYTES_MAX: usize = 70;

/// Malformed in any way.
pub(super) fn malformed() -> S3Error {
    s3_error!(
        MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data."
    )
}

/// More text than a form may have before its file.
pub(super) fn too_much() -> S3Error {
    s3_error!(
        MaxPostPreDataLengthExceededError,
        "Your POST request fields preceding the upload file were too large."
    )
}

/// The boundary a content type names.
pub(super) fn boundary(content_type: &str) -> S3Result<String> {
    let parameter = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|v| v.strip_suffix('"'))
            .unwrap_or(value);
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.to_owned())
    };
    let found = content_type
        .split(';')
        .skip(1)
        .find_map(parameter)
        .ok_or_else(malformed)?;
    let fits = !found.is_empty() && found.len() <= BOUNDARY_BYTES_MAX;
    if fits && found.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        Ok(found)
    } else {
        Err(malformed())
    }
}

/// Reads parts until the file's.
#[derive(Debug)]
pub(super) struct Prefix {
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    /// First byte not yet understood.
    at: usize,
    search: Search,
    within: Within,
    fields: Fields,
}

/// What is being read.
#[derive(Debug)]
enum Within {
    Preamble,
    Head,
    /// The value of the field of this name.
    Value(String),
}

/// What came of reading on.
enum Step {
    /// More must come first.
    More,
    On,
    /// The file begins here.
    File(usize),
}

/// How far a [`Prefix`] has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// Feed it more.
    More,
    /// The file begins.
    File {
        fields: Fields,
        /// Bytes of the body before the file.
        before: usize,
        /// What of the file has come already.
        rest: Vec<u8>,
    },
}

impl Prefix {
    pub(super) fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self {
            delimiter,
            buffer: Vec::new(),
            at: 0,
            search: Search::default(),
            within: Within::Preamble,
            fields: Fields::default(),
        }
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`; `MaxPostPreDataLengthExceededError` past [`PREFIX_BYTES_MAX`].
    pub(super) fn feed(mut self, piece: &[u8]) -> S3Result<(Self, Progress)> {
        self.buffer.extend_from_slice(piece);
        let progress = self.advance()?;
        let used = match &progress {
            Progress::More => self.buffer.len(),
            Progress::File { before, .. } => *before,
        };
        if used > PREFIX_BYTES_MAX {
            return Err(too_much());
        }
        Ok((self, progress))
    }

    /// Bytes it keeps.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The body has ended, and no file began.
    pub(super) fn ended(&self) -> S3Error {
        match self.within {
            Within::Preamble => malformed(),
            Within::Head | Within::Value(_) => Self::no_file(),
        }
    }

    fn no_file() -> S3Error {
        s3_error!(
            IncorrectNumberOfFilesInPostRequest,
            "POST requires exactly one file upload per request."
        )
    }

    /// Goes on at `at`.
    fn pass(&mut self, at: usize, within: Within) -> Step {
        (self.at, self.search.from, self.within) = (at, at, within);
        Step::On
    }

    /// The first delimiter. It has no line before it to end, unless there is a preamble, which RFC 2046
    /// wants ignored.
    fn preamble(&mut self) -> S3Result<Step> {
        let opening = self.delimiter.get(2..).unwrap_or_default();
        let after = if self.buffer.starts_with(opening) {
            opening.len()
        } else {
            match self.search.find(&self.buffer, &self.delimiter) {
                Some(found) => found + self.delimiter.len(),
                None => return Ok(Step::More),
            }
        };
        match self.buffer.get(after..after + 2) {
            None => Ok(Step::More),
            Some(b"\r\n") => Ok(self.pass(after + 2, Within::Head)),
            Some(_) => Err(malformed()),
        }
    }

    fn head(&mut self) -> S3Result<Step> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = self.search.find(&self.buffer, END) else {
            return Ok(Step::More);
        };
        let head = part_head(self.buffer.get(self.at..end).unwrap_or_default())?;
        let content = end + END.len();
        if head.name.eq_ignore_ascii_case("file") {
            self.fields.filename = head.filename;
            return Ok(Step::File(content));
        }
        Ok(self.pass(content, Within::Value(head.name)))
    }

    fn value(&mut self) -> S3Result<Step> {
        let Some(end) = self.search.find(&self.buffer, &self.delimiter) else {
            return Ok(Step::More);
        };
        let after = end + self.delimiter.len();
        match self.buffer.get(after..after + 2) {
            None => return Ok(Step::More),
            Some(b"\r\n") => {}
            Some(b"--") => return Err(Self::no_file()),
            Some(_) => return Err(malformed()),
        }
        let value = self.buffer.get(self.at..end).unwrap_or_default();
        let value = std::str::from_utf8(value).map_err(|_not_text| malformed())?;
        if let Within::Value(name) = &self.within {
            self.fields.add(name, value.to_owned())?;
        }
        Ok(self.pass(after + 2, Within::Head))
    }

    fn advance(&mut self) -> S3Result<Progress> {
        loop {
            let step = match self.within {
                Within::Preamble => self.preamble()?,
                Within::Head => self.head()?,
                Within::Value(_) => self.value()?,
            };
            match step {
                Step::More => return Ok(Progress::More),
                Step::On => {}
                Step::File(before) => {
                    let rest = self.buffer.split_off(before);
                    let fields = std::mem::take(&mut self.fields);
                    return Ok(Progress::File {
                        fields,
                        before,
                        rest,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(disposition, value): &(&str, &str)| {
            format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--B--\r\n"
    }

    /// Fed in pieces of `step` bytes.
    fn run(text: &[u8], step: usize) -> S3Result<(Fields, usize, Vec<u8>)> {
        let mut prefix = Prefix::new("B");
        let mut fed = 0;
        for piece in text.chunks(step) {
            fed += piece.len();
            let (next, progress) = prefix.feed(piece)?;
            prefix = next;
            if let Progress::File {
                fields,
                before,
                mut rest,
            } = progress
            {
                assert_eq!(before + rest.len(), fed);
                rest.extend_from_slice(&text[fed..]);
                return Ok((fields, before, rest));
            }
        }
        Err(prefix.ended())
    }

    #[test]
    fn forms_parse_the_same_in_pieces_of_any_size() {
        let text = form(&[
            (r#"name="Key"; filename="key""#, "a/${filename}"),
            ("name=acl", "private"),
            (r#"name="x-amz-meta-a""#, "line\r\n--notB"),
            (
                r#"name="file"; filename="C:\dir\f \"1\".txt""#,
                "body\r\n--Bx",
            ),
        ]);
        for step in [1, 2, 7, 64, 4096] {
            let (fields, before, rest) = run(text.as_bytes(), step).expect("parses");
            assert_eq!(fields.get("key"), Some("a/${filename}"), "{step}");
            assert_eq!(fields.get("acl"), Some("private"));
            assert_eq!(fields.get("x-amz-meta-a"), Some("line\r\n--notB"));
            assert_eq!(fields.filename.as_deref(), Some(r#"C:\dir\f "1".txt"#));
            assert_eq!(&text.as_bytes()[before..], rest);
            assert!(rest.starts_with(b"body"));
        }
    }

    #[test]
    fn a_preamble_is_passed_over() {
        let text = form(&[(r#"name="key""#, "k"), (r#"name="file""#, "body")]);
        for preamble in ["", "\r\n", "text\r\n", "--\r\n--A\r\n", "\r\n\r\n"] {
            for step in [1, 5, 4096] {
                let whole = format!("{preamble}{text}");
                let (fields, before, rest) = run(whole.as_bytes(), step).expect("parses");
                assert_eq!(fields.get("key"), Some("k"), "{preamble:?} {step}");
                assert_eq!(&whole.as_bytes()[before..], rest);
            }
        }
        // The delimiter stands at the beginning of a line: here the second one is the first.
        let (fields, ..) = run(format!("text{text}").as_bytes(), 4096).expect("parses");
        assert_eq!(fields.get("key"), None);
    }

    #[test]
    fn bad_forms_are_refused() {
        for (text, code) in [
            (
                form(&[(r#"name="key""#, "k")]),
                "IncorrectNumberOfFilesInPostRequest",
            ),
            ("--C\r\n\r\n".to_owned(), "MalformedPOSTRequest"),
            ("--B--\r\n....".to_owned(), "MalformedPOSTRequest"),
            (form(&[(r#"filename="x""#, "k")]), "MalformedPOSTRequest"),
            (form(&[(r#"name="x"#, "k")]), "MalformedPOSTRequest"),
            (
                form(&[
                    (r#"name="key""#, "1"),
                    (r#"name="KEY""#, "2"),
                    (r#"name="a""#, ""),
                ]),
                "InvalidArgument",
            ),
            (
                "--B\r\nX: y\r\n\r\nz\r\n--B\r\n".to_owned(),
                "MalformedPOSTRequest",
            ),
            (
                "--B\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nz\r\n--B\r\n".to_owned(),
                "MalformedPOSTRequest",
            ),
        ] {
            let got = run(text.as_bytes(), 4096).expect_err("refused");
            assert_eq!(got.code().as_str(), code, "{text}");
        }
    }

    #[test]
    fn the_prefix_ends_at_its_limit_and_not_past_it() {
        let with = |length: usize| {
            form(&[
                (r#"name="x-ignore-a""#, &"v".repeat(length)),
                (r#"name="file""#, "body"),
            ])
        };
        let (_, base, _) = run(with(0).as_bytes(), 1 << 20).expect("parses");
        let room = PREFIX_BYTES_MAX - base;
        assert!(run(with(room).as_bytes(), 1 << 20).is_ok());
        let code = run(with(room + 1).as_bytes(), 1 << 20).expect_err("too long");
        assert_eq!(code.code().as_str(), "MaxPostPreDataLengthExceededError");
        // Also while the file has not been reached.
        let endless = with(2 * PREFIX_BYTES_MAX);
        assert!(run(&endless.as_bytes()[..=PREFIX_BYTES_MAX], 1024).is_err());
    }

    #[test]
    fn what_came_is_not_looked_at_again_for_every_piece() {
        let long = "\r".repeat(PREFIX_BYTES_MAX - 1024);
        let head = format!("--B\r\nX: {long}\r\n\r\n");
        let value = form(&[("name=a", &long)]);
        let preamble = format!("{long}\r\n--B\r\n");
        for text in [head, value, preamble] {
            let mut prefix = Prefix::new("B");
            for piece in text.as_bytes().chunks(32) {
                match prefix.feed(piece) {
                    Ok((next, _)) => prefix = next,
                    Err(_) => break,
                }
                assert!(prefix.search.looked_at() <= 4 * text.len());
            }
        }
    }

    #[test]
    fn boundaries() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            (
                "multipart/form-data; charset=utf-8; Boundary=\"a b\"",
                Some("a b"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\u{7}", None),
        ] {
            assert_eq!(
                boundary(content_type).ok().as_deref(),
                expected,
                "{content_type}"
            );
        }
        let long = |n| format!("multipart/form-data; boundary={}", "b".repeat(n));
        assert!(boundary(&long(BOUNDARY_BYTES_MAX)).is_ok());
        assert!(boundary(&long(BOUNDARY_BYTES_MAX + 1)).is_err());
    }
}
