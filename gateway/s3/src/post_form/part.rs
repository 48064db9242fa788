//! The head of one part of a form: its field's name, its file's name.

use super::multipart::malformed;
use crate::translate::path_decode;
use s3s::S3Result;

/// What one part's headers say.
pub(super) struct PartHead {
    pub(super) name: String,
    pub(super) filename: Option<String>,
}

/// Reads a part's header lines.
pub(super) fn part_head(head: &[u8]) -> S3Result<PartHead> {
    let head = std::str::from_utf8(head).map_err(|_not_text| malformed())?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition")
            .then(|| value.trim())
    });
    let disposition = disposition.ok_or_else(malformed)?;
    let (kind, parameters) = disposition.split_once(';').ok_or_else(malformed)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(malformed());
    }
    let (mut name, mut filename, mut extended) = (None, None, None);
    for (key, value) in disposition_parameters(parameters)? {
        match key.to_ascii_lowercase().as_str() {
            "name" => name = Some(value),
            "filename" => filename = Some(value),
            "filename*" => {
                let encoded = value.splitn(3, '\'').nth(2).unwrap_or_default();
                extended = path_decode(encoded);
            }
            _ => {}
        }
    }
    let name = name.filter(|name| !name.is_empty()).ok_or_else(malformed)?;
    Ok(PartHead {
        name,
        filename: extended.or(filename),
    })
}

/// `a="b"; c=d` into pairs. In quotes only `\"` is an escape: browsers send paths with backslashes.
fn disposition_parameters(text: &str) -> S3Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(malformed)?;
        let (value, left) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted)?
        } else {
            let (value, left) = after.split_once(';').unwrap_or((after, ""));
            (value.trim().to_owned(), left)
        };
        pairs.push((name.trim().to_owned(), value));
        rest = left.trim_start().trim_start_matches(';').trim_start();
    }
    Ok(pairs)
}

fn unquote(text: &str) -> S3Result<(String, &str)> {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (c, escaped) {
            ('"', false) => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            ('\\', false) => escaped = true,
            (c, was) => {
                if was && c != '"' {
                    value.push('\\');
                }
                escaped = false;
                if was && c == '\\' {
                    escaped = true;
                } else {
                    value.push(c);
                }
            }
        }
    }
    Err(malformed())
}
