//! The figures under "Limits" of `docs/S3.md` are those of the code.
//!
//! [`ROWS`] says of each row which constants its figures are: a constant that changes, a row that
//! changes, and a row that is on one side alone fail.

use conformance::tree::root;
use std::collections::BTreeSet;
use std::fs::read_to_string;

/// A constant: its file, its name.
type Constant = (&'static str, &'static str);

/// How a figure is written.
#[derive(Clone, Copy, Debug)]
enum Unit {
    /// `10,000`.
    Count,
    /// `1,024 bytes`.
    Bytes,
    /// `5 GiB`: the largest that divides it.
    Size,
    /// `64 KiB/s`.
    Rate,
    /// `30 s`.
    Time,
}

/// A figure, and the constants that all say it.
type Figure = (Unit, &'static [Constant]);

use Unit::{Bytes, Count, Rate, Size, Time};

const API: &str = "engine/node/src/api.rs";
const DOCUMENT: &str = "gateway/s3/src/document_body.rs";
const FILL: &str = "engine/node/src/budget/fill.rs";
const FRAMING: &str = "gateway/s3/src/chunked/framing.rs";
const HELD: &str = "gateway/s3/src/held.rs";
const LISTEN: &str = "gateway/server/src/listen/mod.rs";
const NAME: &str = "engine/types/src/name.rs";
const POLICY: &str = "gateway/policy/src/document/mod.rs";
const PRECHECK: &str = "gateway/s3/src/precheck/mod.rs";
const TAGGING: &str = "gateway/s3/src/tagging.rs";

/// What somebody waits for memory before the slow give way.
const PATIENCE: Figure = (Time, &[("engine/node/src/budget/mod.rs", "PATIENCE")]);

/// Rows, cells parted by ` | `; each `{}` is the next figure.
const ROWS: &[(&str, &[Figure])] = &[
    (
        "single PUT, part, copy source | {}",
        &[(
            Size,
            &[("engine/core/src/stripes/mod.rs", "PART_BYTES_MAX")],
        )],
    ),
    (
        "parts of an upload | {}; each but the last at least {}",
        &[
            (Count, &[(API, "PARTS_MAX")]),
            (Size, &[(API, "PART_BYTES_MIN")]),
        ],
    ),
    ("object | {} parts", &[(Count, &[(API, "PARTS_MAX")])]),
    (
        "object key | {}",
        &[(Bytes, &[(NAME, "OBJECT_KEY_BYTES_MAX")])],
    ),
    (
        "bucket name | {}-{} characters, AWS's general purpose rules",
        &[
            (Count, &[(NAME, "BUCKET_NAME_BYTES_MIN")]),
            (Count, &[(NAME, "BUCKET_NAME_BYTES_MAX")]),
        ],
    ),
    (
        "user metadata, names and values | {}",
        &[(Size, &[(PRECHECK, "USER_METADATA_BYTES_MAX")])],
    ),
    (
        "request head | {} of headers, {} lines",
        &[
            (Size, &[(PRECHECK, "HEADER_BYTES_MAX")]),
            (Count, &[(LISTEN, "HEADERS_MAX")]),
        ],
    ),
    (
        "XML document | {}; {} beginnings of elements, of a CompleteMultipartUpload {}: then 400 \
         `MalformedXML`",
        &[
            (Size, &[("gateway/s3/src/request.rs", "DOCUMENT_BYTES_MAX")]),
            (Count, &[(DOCUMENT, "DOCUMENT_MARKS_MAX")]),
            (Count, &[(DOCUMENT, "COMPLETE_MARKS_MAX")]),
        ],
    ),
    (
        "bucket policy | {}, {} `?`",
        &[
            (Size, &[(POLICY, "BUCKET_POLICY_BYTES_MAX")]),
            (Count, &[(POLICY, "ONES_MAX")]),
        ],
    ),
    (
        "form fields before the file; names put in for `${filename}` | {}; {} each",
        &[
            (
                Size,
                &[("gateway/s3/src/post_form/multipart.rs", "PREFIX_BYTES_MAX")],
            ),
            (
                Bytes,
                &[("gateway/s3/src/post_form/fields.rs", "FILENAME_BYTES_MAX")],
            ),
        ],
    ),
    (
        "signed chunk of aws-chunked | {}",
        &[(
            Size,
            &[("gateway/s3/src/front.rs", "SIGNED_CHUNK_BYTES_MAX")],
        )],
    ),
    (
        "any chunk of aws-chunked but the last | at least {}",
        &[(Size, &[(FRAMING, "CHUNK_BYTES_MIN")])],
    ),
    (
        "keys of a DeleteObjects; entries of a listing page | {}",
        &[(
            Count,
            &[
                ("gateway/s3/src/delete_many.rs", "KEYS_MAX"),
                ("gateway/s3/src/list.rs", "PAGE_MAX"),
            ],
        )],
    ),
    (
        "buckets of a ListBuckets page | {}",
        &[(Count, &[("gateway/s3/src/bucket.rs", "BUCKETS_PAGE_MAX")])],
    ),
    (
        "grants of a list | {}",
        &[(Count, &[("gateway/s3/src/acl/mod.rs", "GRANTS_MAX")])],
    ),
    (
        "tags of an object, of a bucket | {}, {}; {} characters of key, {} of value",
        &[
            (Count, &[(TAGGING, "OBJECT_TAGS_MAX")]),
            (Count, &[(TAGGING, "BUCKET_TAGS_MAX")]),
            (Count, &[(TAGGING, "TAG_KEY_CHARS_MAX")]),
            (Count, &[(TAGGING, "TAG_VALUE_CHARS_MAX")]),
        ],
    ),
    (
        "CORS rules | {}",
        &[(Count, &[("gateway/s3/src/cors_ops.rs", "CORS_RULES_MAX")])],
    ),
    (
        "connections | {}, or what the limit of file handles leaves; {} streams on each of HTTP/2, which hold {} unread, {} each",
        &[
            (Count, &[(LISTEN, "CONNECTIONS_MAX")]),
            (Count, &[(LISTEN, "H2_STREAMS_MAX")]),
            (Size, &[(LISTEN, "H2_CONNECTION_WINDOW_BYTES")]),
            (Size, &[(LISTEN, "H2_STREAM_WINDOW_BYTES")]),
        ],
    ),
    (
        "documents and forms held at once | {}, and {} for the values that documents become: no room \
         for {} is 503 `SlowDown`",
        &[
            (Size, &[(HELD, "HELD_BYTES_MAX")]),
            (Size, &[(HELD, "VALUES_BYTES_MAX")]),
            (Time, &[(HELD, "ROOM_WAIT_MAX")]),
        ],
    ),
    (
        "forms of one address (of IPv6: of one /64) that wait for room | {}: one more is 503 \
         `SlowDown` at once",
        &[(Count, &[(HELD, "FORMS_WAITING_MAX")])],
    ),
    (
        "document, fields of a form, short file of a form to arrive | {} and its length at {}; \
         {} and {} while others wait for room: then 400 `RequestTimeout`",
        &[
            (Time, &[(HELD, "READ_TIME")]),
            (Rate, &[(HELD, "READ_RATE")]),
            (Time, &[(HELD, "PRESSED_TIME")]),
            (Rate, &[(HELD, "PRESSED_RATE")]),
        ],
    ),
    (
        "request head to arrive, idle connection, HTTP/2 as well | {}",
        &[(Time, &[(LISTEN, "HEAD_TIMEOUT")])],
    ),
    (
        "body without a byte | {}; {} while other uploads have waited {} for memory",
        &[
            (Time, &[("gateway/s3/src/body.rs", "BODY_IDLE_MAX")]),
            (Time, &[(FILL, "FILL_GRACE")]),
            PATIENCE,
        ],
    ),
    (
        "slowest body while other uploads have waited {} for memory | {}: then 400 `RequestTimeout`",
        &[PATIENCE, (Rate, &[(FILL, "FILL_BYTES_PER_S_MIN")])],
    ),
    (
        "answer of which the client takes nothing | {}; on HTTP/2 its stream alone is cut",
        &[(
            Time,
            &[("gateway/server/src/listen/stall.rs", "WRITE_STALL_MAX")],
        )],
    ),
    (
        "TLS handshake | {}",
        &[(Time, &[(LISTEN, "HANDSHAKE_TIMEOUT")])],
    ),
];

/// A constant's value: a number, or seconds.
fn value((file, name): Constant) -> Result<u64, String> {
    let text = read_to_string(root().join(file)).map_err(|e| format!("{file}: {e}"))?;
    let named = format!("const {name}: ");
    let mut lines = text.lines().filter_map(|line| line.split_once(&named));
    let (_, line) = lines.next().ok_or(format!("{file} has no {name}"))?;
    let said = line.split_once(" = ").map(|(_, rest)| rest);
    let said = said.and_then(|rest| rest.strip_suffix(';'));
    said.and_then(computed)
        .ok_or(format!("{file}: {name} is not read: {line}"))
}

/// `5 << 20`, `3 * 1024`, `10_000`, `Duration::from_secs(60)`.
fn computed(expression: &str) -> Option<u64> {
    if let Some((left, right)) = expression.split_once(" << ") {
        return computed(left)?.checked_shl(u32::try_from(computed(right)?).ok()?);
    }
    if let Some((left, right)) = expression.split_once(" * ") {
        return computed(left)?.checked_mul(computed(right)?);
    }
    for (unit, seconds) in [("from_secs", 1), ("from_mins", 60)] {
        let inner = expression.strip_prefix(&format!("Duration::{unit}("));
        if let Some(inner) = inner.and_then(|rest| rest.strip_suffix(')')) {
            return computed(inner)?.checked_mul(seconds);
        }
    }
    expression.replace('_', "").parse().ok()
}

/// As the document writes it.
fn written(unit: Unit, value: u64) -> String {
    match unit {
        Count => thousands(value),
        Bytes => format!("{} bytes", thousands(value)),
        Rate => format!("{}/s", written(Size, value)),
        Time => format!("{value} s"),
        Size => {
            let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter();
            let mut fit = units.filter(|(bits, _)| value.trailing_zeros() >= *bits);
            fit.next().map_or_else(
                || written(Bytes, value),
                |(bits, name)| format!("{} {name}", value >> bits),
            )
        }
    }
}

fn thousands(value: u64) -> String {
    if value < 1000 {
        return value.to_string();
    }
    format!("{},{:03}", thousands(value / 1000), value % 1000)
}

/// A row with the figures of the code.
fn row((row, figures): (&str, &[Figure])) -> Result<String, String> {
    let mut pieces = row.split("{}");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    let mut figures = figures.iter();
    for piece in pieces {
        let (unit, constants) = figures.next().ok_or(format!("too few figures: {row}"))?;
        let said: Result<BTreeSet<u64>, String> = constants.iter().map(|c| value(*c)).collect();
        let said: Vec<u64> = said?.into_iter().collect();
        let [one] = said[..] else {
            return Err(format!("{constants:?} differ: {said:?}"));
        };
        whole.extend([written(*unit, one).as_str(), piece]);
    }
    match figures.next() {
        Some(left) => Err(format!("{left:?} has no place in: {row}")),
        None => Ok(whole),
    }
}

/// Rows of the table under a heading, without its head; cells parted by ` | `.
fn table(document: &str, heading: &str) -> BTreeSet<String> {
    let lines = document.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("## "));
    let rows = lines.filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.skip(1).map(str::to_owned).collect()
}

#[test]
fn every_limit_stands_in_the_table_as_the_code_has_it() {
    let code: Result<BTreeSet<String>, String> = ROWS.iter().map(|of| row(*of)).collect();
    let code = code.expect("the constants are read");
    let document = read_to_string(root().join("docs/S3.md")).expect("docs/S3.md");
    let told = table(&document, "## Limits");
    let wrong: Vec<_> = code.symmetric_difference(&told).collect();
    assert!(
        wrong.is_empty(),
        "each on one side alone, code ({}) or docs/S3.md ({}): {wrong:#?}",
        code.len(),
        told.len()
    );
}

#[test]
fn the_readers_read() {
    for (expression, value) in [
        ("10_000", Some(10_000)),
        ("5 << 20", Some(5 << 20)),
        ("5 * 1024 * 1024", Some(5 << 20)),
        ("Duration::from_secs(30)", Some(30)),
        ("Duration::from_mins(2)", Some(120)),
        ("OTHER + 1", None),
    ] {
        assert_eq!(computed(expression), value, "{expression}");
    }
    for (unit, value, text) in [
        (Count, 1_234_567, "1,234,567"),
        (Bytes, 1024, "1,024 bytes"),
        (Size, 5 << 30, "5 GiB"),
        (Size, 20 << 10, "20 KiB"),
        (Size, 100, "100 bytes"),
        (Rate, 1 << 20, "1 MiB/s"),
        (Time, 60, "60 s"),
    ] {
        assert_eq!(written(unit, value), text);
    }
    let document = "## Limits\n\n| what | most |\n|---|---|\n| a | 1 |\n\n## More\n| b | 2 |\n";
    assert_eq!(table(document, "## Limits"), ["a | 1".to_owned()].into());
}
