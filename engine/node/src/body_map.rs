//! Where a version's bytes are: its parts in order, and each part's stripes, a chunk at a time.

use crate::EngineError;
use crate::api::{Bucket, CustomerKey};
use crate::engine::Inner;
use crate::stripe_read::StripeAt;
use engine_core::meta::{
    MANIFEST_CHUNK_ENTRIES, ManifestEntry, PACKS, PartFound, PartRow, Place, Query, Reply, Stripe,
    pack_data, pack_key,
};
use engine_core::seal::{BoundContext, Opener};
use engine_core::stripes::PartShape;
use engine_types::{BucketId, DataId, ObjectKey, PackId, PartitionId, UploadId};
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
    /// What the version says its data keys are bound to.
    pub(crate) context: BoundContext,
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
    packed: Option<Packed>,
}

/// Where in which pack a part's bytes are.
#[derive(Clone, Copy, Debug)]
struct Packed {
    maker: PartitionId,
    pack: PackId,
    offset: u32,
}

/// A stripe of a part, or of the pack its bytes are in.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) at: StripeAt,
    pub(crate) stripe: Stripe,
    /// Where the part's bytes begin in it.
    pub(crate) base: u32,
}

impl Chunk {
    fn new(place: &Place, first: u32, stripes: Vec<Stripe>) -> Self {
        let packed = match *place {
            Place::Packed {
                maker,
                pack,
                offset,
                ..
            } => Some(Packed {
                maker,
                pack,
                offset,
            }),
            Place::Inline | Place::Stripes(_) => None,
        };
        Self {
            first,
            stripes,
            packed,
        }
    }

    fn get(&self, source: &Source, data: DataId, index: u32) -> Option<Located> {
        let at = index.checked_sub(self.first)?;
        let stripe = self.stripes.get(at as usize).cloned()?;
        let own = || StripeAt::new(&source.bucket, &source.key, data, index);
        let at = self.packed.map_or_else(own, |packed| StripeAt {
            partition: packed.maker,
            bucket: PACKS,
            key: pack_key(packed.pack),
            data: pack_data(packed.pack),
            stripe: 0,
        });
        let base = self.packed.map_or(0, |packed| packed.offset);
        Some(Located { at, stripe, base })
    }
}

impl Source {
    async fn part_rows(&self, data: DataId, first: u32) -> Result<PartFound, EngineError> {
        let (partition, bucket) = (self.bucket.reference.partition, self.bucket.row.id);
        self.rows(partition, (bucket, self.key.clone()), data, first)
            .await
    }

    async fn rows(
        &self,
        partition: PartitionId,
        (bucket, key): (BucketId, ObjectKey),
        data: DataId,
        first: u32,
    ) -> Result<PartFound, EngineError> {
        let query = Query::Part {
            bucket,
            key,
            data,
            first,
        };
        match self.inner.ask(partition, query).await? {
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
        let shape =
            PartShape::new(size).map_err(|error| EngineError::Internal(error.to_string()))?;
        let customer_key = self.customer_key.as_ref();
        let opener = self.inner.opener(data, &key, customer_key, self.context)?;
        let stripes = Mutex::new(Chunk::new(&place, 0, stripes));
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

    /// One stripe of a part; `afresh`: past what was read before. It may be in a pack by then, or in
    /// another one.
    pub(crate) async fn stripe(
        &self,
        part: &OpenPart,
        index: u32,
        afresh: bool,
    ) -> Result<Located, EngineError> {
        if !afresh && let Some(located) = part.stripes.lock().get(self, part.data, index) {
            return Ok(located);
        }
        let found = self.part_rows(part.data, index).await?;
        let mut chunk = Chunk::new(&found.row.place, index, found.stripes);
        if let Some(packed) = chunk.packed.filter(|_| chunk.stripes.is_empty()) {
            // Its range has moved here since; the pack has stayed.
            let place = (PACKS, pack_key(packed.pack));
            let rows = self.rows(packed.maker, place, pack_data(packed.pack), 0);
            chunk.stripes = rows.await?.stripes;
        }
        let located = chunk.get(self, part.data, index);
        *part.stripes.lock() = chunk;
        located.ok_or_else(|| {
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
