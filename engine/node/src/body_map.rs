//! Where a version's bytes are: its parts in order, and each part's stripes, a chunk at a time.

use crate::EngineError;
use crate::api::{Bucket, CustomerKey};
use crate::engine::Inner;
use engine_core::meta::{
    MANIFEST_CHUNK_ENTRIES, ManifestEntry, PartFound, PartRow, Place, Query, Reply, Stripe,
};
use engine_core::seal::Opener;
use engine_core::stripes::PartShape;
use engine_types::{DataId, ObjectKey, UploadId};
use parking_lot::Mutex;
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// The version a read is about.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) inner: Arc<Inner>,
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) customer_key: Option<CustomerKey>,
}

/// A part ready to be read.
#[derive(Debug)]
pub(crate) struct OpenPart {
    pub(crate) data: DataId,
    pub(crate) shape: PartShape,
    pub(crate) opener: Opener,
    pub(crate) inline: Option<ByteBuf>,
    stripes: Mutex<Chunk>,
}

/// Stripes of a part as last read.
#[derive(Debug, Default)]
struct Chunk {
    first: u32,
    stripes: Vec<Stripe>,
}

impl Chunk {
    fn get(&self, index: u32) -> Option<Stripe> {
        let at = index.checked_sub(self.first)?;
        self.stripes.get(at as usize).cloned()
    }
}

impl Source {
    async fn part_rows(&self, data: DataId, first: u32) -> Result<PartFound, EngineError> {
        let query = Query::Part {
            bucket: self.bucket.row.id,
            key: self.key.clone(),
            data,
            first,
        };
        match self
            .inner
            .ask(self.bucket.reference.partition, query)
            .await?
        {
            Reply::Part(Some(part)) => Ok(*part),
            Reply::Part(None) => Err(EngineError::DataLost(format!("part {data} is gone"))),
            _ => Err(EngineError::unexpected("Part")),
        }
    }

    /// A part as found.
    pub(crate) fn open(&self, found: PartFound) -> Result<OpenPart, EngineError> {
        let PartFound {
            data,
            row,
            inline,
            stripes,
        } = found;
        let PartRow {
            size, key, place, ..
        } = row;
        if let Place::Packed { .. } = place {
            return Err(EngineError::Internal(
                "packed parts cannot be read yet".into(),
            ));
        }
        let shape =
            PartShape::new(size).map_err(|error| EngineError::Internal(error.to_string()))?;
        let opener = self.inner.opener(data, &key, self.customer_key.as_ref())?;
        let stripes = Mutex::new(Chunk { first: 0, stripes });
        Ok(OpenPart {
            data,
            shape,
            opener,
            inline,
            stripes,
        })
    }

    /// A part named by a manifest.
    pub(crate) async fn open_data(
        &self,
        data: DataId,
        first: u32,
    ) -> Result<OpenPart, EngineError> {
        let found = self.part_rows(data, first).await?;
        let part = self.open(found)?;
        part.stripes.lock().first = first;
        Ok(part)
    }

    /// The map of one stripe; `afresh`: past what was read before.
    pub(crate) async fn stripe(
        &self,
        part: &OpenPart,
        index: u32,
        afresh: bool,
    ) -> Result<Stripe, EngineError> {
        if !afresh && let Some(stripe) = part.stripes.lock().get(index) {
            return Ok(stripe);
        }
        let found = self.part_rows(part.data, index).await?;
        let chunk = Chunk {
            first: index,
            stripes: found.stripes,
        };
        let stripe = chunk.get(index);
        *part.stripes.lock() = chunk;
        stripe.ok_or_else(|| {
            EngineError::Internal(format!("part {} has no stripe {index}", part.data))
        })
    }

    /// One chunk of a manifest.
    pub(crate) async fn manifest(
        &self,
        upload: UploadId,
        chunk: u32,
    ) -> Result<Vec<ManifestEntry>, EngineError> {
        self.inner
            .manifest(&self.bucket, &self.key, upload, chunk)
            .await
    }
}

impl Inner {
    /// One chunk of a manifest; empty past its end.
    pub(crate) async fn manifest(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        chunk: u32,
    ) -> Result<Vec<ManifestEntry>, EngineError> {
        let query = Query::Manifest {
            bucket: bucket.row.id,
            key: key.clone(),
            upload,
            chunk,
        };
        match self.ask(bucket.reference.partition, query).await? {
            Reply::Manifest(entries) => Ok(entries),
            _ => Err(EngineError::unexpected("Manifest")),
        }
    }

    /// Number of the last chunk whose first entry satisfies `not_past`, and its entries: a binary
    /// search, as entries ascend by number and by offset alike. `first`: chunk 0, if at hand.
    pub(crate) async fn find_chunk(
        &self,
        (bucket, key): (&Bucket, &ObjectKey),
        (upload, parts): (UploadId, u32),
        first: Option<Vec<ManifestEntry>>,
        not_past: impl Fn(&ManifestEntry) -> bool,
    ) -> Result<(u32, Vec<ManifestEntry>), EngineError> {
        let (mut low, mut high) = (0, parts.div_ceil(MANIFEST_CHUNK_ENTRIES).max(1));
        let mut best = match first {
            Some(entries) => entries,
            None => self.manifest(bucket, key, upload, 0).await?,
        };
        if best.last().is_some_and(|last| !not_past(last)) {
            return Ok((0, best));
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let entries = self.manifest(bucket, key, upload, middle).await?;
            if entries.first().is_some_and(&not_past) {
                (low, best) = (middle, entries);
            } else {
                high = middle;
            }
        }
        Ok((low, best))
    }
}
