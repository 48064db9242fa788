//! Finding versions, reading their bytes, and the parts they were made of.

use crate::ByteStream;
use crate::EngineError;
use crate::api::{Bucket, CustomerKey, Found, Lookup};
use crate::engine::Engine;
use crate::object_read;
use engine_core::meta::{
    Body, BodyStart, MANIFEST_CHUNK_ENTRIES, ManifestEntry, Query, Refusal, Reply, VersionKind,
};
use engine_types::{ObjectKey, VersionId};
use std::ops::Range;

impl Engine {
    /// Finds a version (none: the current one). `body`: also where its bytes are, for [`Engine::read`].
    pub async fn find(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        body: bool,
    ) -> Result<Lookup, EngineError> {
        let inner = &self.inner;
        let partition = bucket.reference.partition;
        // Before the row is read, so that nothing it names can die unseen.
        let pin = inner.pins.pin(partition, inner.metadata.applied(partition));
        let query = Query::Version {
            bucket: bucket.reference,
            key: key.clone(),
            version,
            body,
        };
        match inner.metadata.read(partition, query).await? {
            Reply::Version(found) if found.row.kind == VersionKind::DeleteMarker => {
                Ok(Lookup::Marker(found.row.version, found.row.order.stamp.0))
            }
            Reply::Version(found) => {
                let found = Found {
                    found: *found,
                    bucket: bucket.clone(),
                    key: key.clone(),
                    pin,
                };
                Ok(Lookup::Found(Box::new(found)))
            }
            Reply::Marker(version, stamp) => Ok(Lookup::Marker(version, stamp.0)),
            Reply::Refused(missing @ (Refusal::NoSuchKey | Refusal::NoSuchVersion)) => {
                Ok(Lookup::Missing(missing))
            }
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(EngineError::unexpected("Version")),
        }
    }

    /// Streams `range` (within the size) of a version found with its body. The key is checked before
    /// the stream is returned; an error inside the stream means the connection must be cut.
    pub async fn read(
        &self,
        found: Found,
        range: Range<u64>,
        customer_key: Option<CustomerKey>,
    ) -> Result<ByteStream, EngineError> {
        let encryption = &found.found.row.attributes.encryption;
        if !Self::customer_key_fits(encryption, customer_key.as_ref()) {
            return Err(EngineError::CustomerKey);
        }
        object_read::read(&self.inner, found, range, customer_key).await
    }

    /// Byte range and count of part `number` of a version (`?partNumber`): of a plain object part 1
    /// is the whole of it. `None`: no such part. Also the parts in all.
    pub async fn part_range(
        &self,
        found: &Found,
        number: u16,
    ) -> Result<Option<(Range<u64>, u16, Option<Vec<u8>>)>, EngineError> {
        let row = &found.found.row;
        let Body::Manifest(upload) = row.body else {
            return Ok((number == 1).then_some((0..row.size, 1, None)));
        };
        let at_most = |entry: &ManifestEntry| entry.number <= number;
        let of = (&found.bucket, &found.key);
        let find = self
            .inner
            .find_chunk(of, (upload, row.etag.parts), first_chunk(found), at_most);
        let (_, entries) = find.await?;
        let entry = entries.into_iter().find(|entry| entry.number == number);
        let parts = u16::try_from(row.etag.parts).unwrap_or(u16::MAX);
        Ok(entry.map(|entry| {
            let range = entry.offset..entry.offset + entry.size;
            (range, parts, entry.checksum)
        }))
    }

    /// Manifest entries with part number > `after` (`GetObjectAttributes`); `true`: more follow.
    pub async fn object_parts(
        &self,
        found: &Found,
        after: u16,
        limit: u32,
    ) -> Result<(Vec<ManifestEntry>, bool), EngineError> {
        let row = &found.found.row;
        let Body::Manifest(upload) = row.body else {
            return Ok((Vec::new(), false));
        };
        let of = (&found.bucket, &found.key);
        let at_most = |entry: &ManifestEntry| entry.number <= after;
        let find = self
            .inner
            .find_chunk(of, (upload, row.etag.parts), first_chunk(found), at_most);
        let (mut chunk, mut entries) = find.await?;
        let limit = limit as usize;
        let mut page = Vec::new();
        loop {
            let full = entries.len() as u64 == u64::from(MANIFEST_CHUNK_ENTRIES);
            for entry in entries.into_iter().filter(|entry| entry.number > after) {
                if page.len() == limit {
                    return Ok((page, true));
                }
                page.push(entry);
            }
            if !full {
                return Ok((page, false));
            }
            chunk += 1;
            entries = self
                .inner
                .manifest(&found.bucket, &found.key, upload, chunk)
                .await?;
        }
    }
}

/// The manifest's first chunk, where it was found with the version.
fn first_chunk(found: &Found) -> Option<Vec<ManifestEntry>> {
    match &found.found.body {
        Some(BodyStart::Manifest(first)) => Some(first.clone()),
        _ => None,
    }
}
