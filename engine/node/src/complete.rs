//! `CompleteMultipartUpload`: the parts are checked here, the commit checks that they are still those.

use crate::EngineError;
use crate::api::{CompleteRequest, DEFAULT_CHECKSUM, PART_BYTES_MIN, PARTS_MAX};
use crate::engine::Engine;
use engine_core::digest;
use engine_core::meta::{
    Answer, Change, CompleteUpload, ManifestEntry, PartsPage, Refusal, UploadPartRow,
    VersionAttributes, VersionRow,
};
use engine_types::{Checksum, ChecksumAlgorithm, ChecksumType, ETag};
use std::collections::BTreeMap;

/// Times a Complete is checked again because a part was replaced meanwhile.
const CHANGED_RETRIES_MAX: usize = 4;

impl Engine {
    /// Ends an upload; the version committed. Repeated after success: the same version (without its
    /// metadata and tags, which the upload no longer has).
    pub async fn complete(&self, request: CompleteRequest) -> Result<VersionRow, EngineError> {
        let mut last = EngineError::Refused(Refusal::Changed);
        for _ in 0..CHANGED_RETRIES_MAX {
            let listed = self
                .list_parts(
                    &request.bucket,
                    &request.key,
                    request.upload,
                    0,
                    u32::from(PARTS_MAX),
                )
                .await;
            let (complete, attributes) = match listed {
                Ok(page) => (decide(&request, &page)?, Some(page.upload.attributes)),
                // Perhaps completed already: apply knows.
                Err(EngineError::Refused(Refusal::NoSuchUpload)) => (empty(&request), None),
                Err(error) => return Err(error),
            };
            match self.propose_complete(complete, attributes).await {
                Err(error @ EngineError::Refused(Refusal::Changed)) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    async fn propose_complete(
        &self,
        complete: CompleteUpload,
        attributes: Option<VersionAttributes>,
    ) -> Result<VersionRow, EngineError> {
        let partition = complete.bucket.partition;
        let change = Change::CompleteUpload(Box::new(complete));
        match self.inner.propose(partition, change).await.answer()? {
            Answer::Version(mut row) => {
                if let Some(attributes) = attributes {
                    row.attributes = attributes;
                }
                Ok(*row)
            }
            _ => Err(EngineError::unexpected("CompleteUpload")),
        }
    }
}

/// A Complete of an upload that is not open: answered only if it was completed before.
fn empty(request: &CompleteRequest) -> CompleteUpload {
    CompleteUpload {
        bucket: request.bucket.reference,
        key: request.key.clone(),
        upload: request.upload,
        condition: request.condition.clone(),
        parts: Vec::new(),
        size: 0,
        etag: ETag {
            md5: [0; 16],
            parts: 0,
        },
        checksum: None,
    }
}

/// Judges the request against the parts there are, and computes what the version will say.
fn decide(request: &CompleteRequest, page: &PartsPage) -> Result<CompleteUpload, EngineError> {
    let encryption = &page.upload.attributes.encryption;
    let key = request.customer_key.as_ref();
    let needed = page.upload.checksum.is_some() || key.is_some();
    if needed && !Engine::customer_key_fits(encryption, key) {
        return Err(EngineError::CustomerKey);
    }
    let (algorithm, kind) = page.upload.checksum.unwrap_or(DEFAULT_CHECKSUM);
    let said = &request.checksum;
    let value_of = said.value.as_ref().map(|(algorithm, _)| *algorithm);
    let other = |named: Option<ChecksumAlgorithm>| named.is_some_and(|named| named != algorithm);
    if other(said.algorithm) || other(value_of) || said.kind.is_some_and(|named| named != kind) {
        return Err(EngineError::ChecksumOfAnother(algorithm, kind));
    }
    let parts = chosen(request, page)?;
    let size: u64 = parts.iter().map(|(_, part)| part.size).sum();
    if request.size.is_some_and(|said| said != size) {
        return Err(EngineError::SizeMismatch);
    }
    let etag = digest::multipart_etag(parts.iter().map(|(_, part)| &part.md5))
        .map_err(|_none| EngineError::InvalidPart(0))?;
    let checksum = object_checksum(request, page.upload.checksum, &parts)?;
    let mut offset = 0;
    let entries = parts.into_iter().map(|(number, part)| {
        let entry = ManifestEntry {
            number,
            data: part.data,
            size: part.size,
            offset,
            checksum: part.checksum.as_ref().map(|(_, value)| value.clone()),
        };
        offset += part.size;
        entry
    });
    Ok(CompleteUpload {
        parts: entries.collect(),
        size,
        etag,
        checksum,
        ..empty(request)
    })
}

/// The parts the client named, each as it said.
fn chosen<'a>(
    request: &CompleteRequest,
    page: &'a PartsPage,
) -> Result<Vec<(u16, &'a UploadPartRow)>, EngineError> {
    let here: BTreeMap<u16, &UploadPartRow> =
        page.parts.iter().map(|(n, part)| (*n, part)).collect();
    let ascending = request.parts.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !ascending {
        return Err(EngineError::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(request.parts.len());
    for (number, etag, checksum) in &request.parts {
        let part = *here.get(number).ok_or(EngineError::InvalidPart(*number))?;
        let tag = etag.is_none_or(|etag| {
            etag == ETag {
                md5: part.md5,
                parts: 0,
            }
        });
        let sum = checksum.is_none() || [&part.checksum, &part.declared].contains(&checksum);
        #[cfg(sabotage)]
        let sum = sum || engine_types::sabotage("skip-part-checksum");
        if !tag || !sum {
            return Err(EngineError::InvalidPart(*number));
        }
        match page.upload.checksum {
            Some((algorithm, ChecksumType::Composite)) if checksum.is_none() => {
                return Err(EngineError::ChecksumMissing(*number, algorithm));
            }
            _ => chosen.push((*number, part)),
        }
    }
    let (_, all_but_last) = chosen.split_last().ok_or(EngineError::InvalidPart(0))?;
    match all_but_last
        .iter()
        .find(|(_, part)| part.size < PART_BYTES_MIN)
    {
        Some((number, _)) => Err(EngineError::PartTooSmall(*number)),
        None => Ok(chosen),
    }
}

/// The version's checksum, from its parts'. Of an upload that named none: the default one, unless a
/// part was stored without.
fn object_checksum(
    request: &CompleteRequest,
    asked: Option<(ChecksumAlgorithm, ChecksumType)>,
    parts: &[(u16, &UploadPartRow)],
) -> Result<Option<Checksum>, EngineError> {
    let (algorithm, kind) = asked.unwrap_or(DEFAULT_CHECKSUM);
    let sent = request.checksum.value.as_ref().map(|(_, value)| value);
    let mut values = Vec::with_capacity(parts.len());
    for (number, part) in parts {
        match &part.checksum {
            Some((of, value)) if *of == algorithm => values.push((&value[..], part.size)),
            _ if asked.is_none() && sent.is_none() => return Ok(None),
            _ => return Err(EngineError::InvalidPart(*number)),
        }
    }
    let made = match kind {
        ChecksumType::FullObject => digest::full_object(algorithm, values),
        ChecksumType::Composite => digest::composite(algorithm, values.into_iter().map(|(v, _)| v)),
    };
    let made = made.map_err(|_error| EngineError::ChecksumMismatch)?;
    if sent.is_none_or(|sent| *sent == made.value) {
        Ok(Some(made))
    } else {
        Err(EngineError::ChecksumMismatch)
    }
}
