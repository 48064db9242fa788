//! `GET /v1/object`: where an object's bytes are, shard by shard, and what may still be lost.

use super::error::AdminError;
use super::shapes::{Explained, PartInfo, ShardInfo, StripeInfo};
use super::{Admin, Running, status};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UriQuery, State};
use engine_core::meta::{BodyStart, Place, Query, Reply, Slot, Stripe};
use engine_core::ports::{DriveError, Metadata, ShardStore};
use engine_node::{Found, Lookup, PARTS_MAX, Service};
use engine_types::{DataId, ObjectKey, PartitionId, VersionId};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Stripes told in one answer (8 GiB); what is beyond is asked for part by part.
pub(super) const STRIPES_MAX: usize = 1024;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    bucket: String,
    key: String,
    version: Option<String>,
    /// Only this part.
    part: Option<u16>,
    /// Read every shard whole.
    #[serde(default)]
    verify: bool,
}

pub(super) async fn explain(
    State(admin): State<Admin>,
    ask: Result<UriQuery<Ask>, QueryRejection>,
) -> Result<Json<Explained>, AdminError> {
    let UriQuery(ask) = ask.map_err(|error| AdminError::invalid(error.body_text()))?;
    let running = admin.running()?;
    let key = ObjectKey::parse(&ask.key).map_err(|e| AdminError::invalid(format!("key: {e}")))?;
    let version = ask
        .version
        .as_deref()
        .map(str::parse::<VersionId>)
        .transpose();
    let version = version.map_err(|e| AdminError::invalid(format!("version: {e}")))?;
    let bucket = running.engine.bucket(&ask.bucket).await?;
    let found = match running.engine.find(&bucket, &key, version, true).await? {
        Lookup::Found(found) => found,
        Lookup::Marker(id, _) => {
            return Err(AdminError::missing(format!(
                "a delete marker stands there: version {id}"
            )));
        }
        Lookup::Missing(refusal) => return Err(AdminError::missing(refusal.to_string())),
    };
    let partition = found.bucket.reference.partition;
    let mut explainer = Explainer {
        running,
        found: &found,
        verify: ask.verify,
        left: Budget(STRIPES_MAX),
    };
    let mut parts = Vec::new();
    let mut truncated = false;
    for (number, data) in explainer.parts().await? {
        if ask.part.is_some_and(|wanted| wanted != number) {
            continue;
        }
        if explainer.left.0 == 0 {
            truncated = true;
            break;
        }
        let (part, cut) = explainer.part(number, data).await?;
        parts.push(part);
        truncated |= cut;
    }
    let stripes = parts
        .iter()
        .flat_map(|part| &part.stripes)
        .map(|stripe| stripe.losses_tolerated);
    let row = &found.found.row;
    Ok(Json(Explained {
        bucket: ask.bucket,
        key: ask.key,
        version: row.version.to_string(),
        latest: found.found.latest,
        size_bytes: row.size,
        etag: row.etag.to_string(),
        modified_ms: row.order.stamp.0,
        storage_class: row.attributes.class.as_str().to_owned(),
        partition: partition.0,
        losses_tolerated: stripes
            .chain([rows_tolerate(running, partition)])
            .min()
            .unwrap_or(0),
        parts,
        truncated,
    }))
}

/// Drives that may go before the partition has no majority: the object's rows, and inline bytes.
fn rows_tolerate(running: &Running, partition: PartitionId) -> i32 {
    let partitions = status::partitions(running);
    let Some(partition) = partitions.iter().find(|p| p.id == partition.0) else {
        return -1;
    };
    let alive = partition
        .replicas
        .iter()
        .filter(|r| r.stopped.is_none())
        .count();
    less(alive, partition.voters as usize / 2 + 1)
}

fn less(present: usize, needed: usize) -> i32 {
    let narrow = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    narrow(present) - narrow(needed)
}

/// What may still be told.
struct Budget(usize);

impl Budget {
    fn take(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

struct Explainer<'a> {
    running: &'a Running,
    /// Its pin keeps what is told alive while it is told.
    found: &'a Found,
    verify: bool,
    /// Stripes that may still be told.
    left: Budget,
}

impl Explainer<'_> {
    async fn parts(&self) -> Result<Vec<(u16, DataId)>, AdminError> {
        match &self.found.found.body {
            None => Ok(Vec::new()),
            Some(BodyStart::Part(part)) => Ok(vec![(1, part.data)]),
            Some(BodyStart::Manifest(_)) => {
                let (entries, _) = self
                    .running
                    .engine
                    .object_parts(self.found, 0, PARTS_MAX.into())
                    .await?;
                Ok(entries
                    .iter()
                    .map(|entry| (entry.number, entry.data))
                    .collect())
            }
        }
    }

    /// One part; true: some of its stripes are left out.
    async fn part(&mut self, number: u16, data: DataId) -> Result<(PartInfo, bool), AdminError> {
        let mut stripes = Vec::new();
        loop {
            let first = u32::try_from(stripes.len()).unwrap_or(u32::MAX);
            let bucket = self.found.bucket.row.id;
            let query = Query::Part {
                bucket,
                key: self.found.key.clone(),
                data,
                first,
            };
            let reply = self
                .running
                .metadata
                .read(self.found.bucket.reference.partition, query)
                .await?;
            let Reply::Part(Some(part)) = reply else {
                return Err(AdminError::missing(format!(
                    "part {number} is gone: the object was replaced meanwhile"
                )));
            };
            let (place, count) = match part.row.place {
                Place::Inline => ("inline".to_owned(), 0),
                Place::Packed { pack, .. } => (format!("pack {pack}"), part.stripes.len()),
                Place::Stripes(count) => ("stripes".to_owned(), count as usize),
            };
            for stripe in &part.stripes {
                if stripes.len() >= count || !self.left.take() {
                    break;
                }
                let index = u32::try_from(stripes.len()).unwrap_or(u32::MAX);
                stripes.push(self.stripe(index, stripe).await);
            }
            let whole = stripes.len() >= count;
            if whole || self.left.0 == 0 || part.stripes.is_empty() {
                let info = PartInfo {
                    number,
                    data: data.to_string(),
                    size_bytes: part.row.size,
                    place,
                    stripes,
                };
                return Ok((info, !whole));
            }
        }
    }

    async fn stripe(&self, index: u32, stripe: &Stripe) -> StripeInfo {
        let shards = (0..)
            .zip(&stripe.slots)
            .map(|(index, slot)| self.shard(index, slot.as_ref()));
        let shards = futures::future::join_all(shards).await;
        let present = shards
            .iter()
            .filter(|shard| matches!(shard.state.as_str(), "present" | "verified"))
            .count();
        StripeInfo {
            index,
            k: stripe.k,
            m: stripe.m,
            bytes: stripe.length,
            losses_tolerated: less(present, stripe.k.into()),
            shards,
        }
    }

    async fn shard(&self, index: u8, slot: Option<&Slot>) -> ShardInfo {
        let Some(slot) = slot else {
            return ShardInfo {
                index,
                drive: None,
                token: None,
                state: "queued".into(),
                verified_ms: None,
            };
        };
        let drives = self.running.engine.drives().status();
        let out = drives
            .iter()
            .any(|d| d.row.id == slot.drive && matches!(d.service, Service::Out(_)));
        let open = self.running.shelf.get(slot.drive).filter(|_| !out);
        let read = match open {
            None => Err(DriveError::Failed("not open".into())),
            Some(shelved) if self.verify => shelved.store.verify(slot.token).await,
            Some(shelved) => {
                let read = shelved.store.read(slot.token, 0..0).await;
                read.map(|shard| shard.header)
            }
        };
        let good = if self.verify { "verified" } else { "present" };
        let state = told(good, read.as_ref().err());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|d| u64::try_from(d.as_millis()).ok());
        let engine = &self.running.engine;
        // Just now, or when the scrub last read the segment.
        let verified = read.ok().and_then(|header| {
            let place = (header.segment, header.offset);
            let scrubbed = || engine.last_verified(slot.drive, slot.token, place);
            now.filter(|_| self.verify).or_else(scrubbed)
        });
        ShardInfo {
            index,
            drive: Some(slot.drive.0),
            token: Some(slot.token.to_string()),
            state: state.into(),
            verified_ms: verified,
        }
    }
}

fn told(good: &'static str, error: Option<&DriveError>) -> &'static str {
    match error {
        None => good,
        Some(DriveError::NotFound) => "missing",
        Some(DriveError::Corrupt(_)) => "damaged",
        Some(DriveError::Starved(_)) => "not read",
        Some(DriveError::Full | DriveError::ReadOnly | DriveError::Failed(_)) => "drive out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_told_up_to_the_limit_and_not_one_past_it() {
        let mut left = Budget(STRIPES_MAX);
        assert!((0..STRIPES_MAX).all(|_| left.take()));
        assert!(!left.take());
    }

    #[test]
    fn what_is_left_is_told_below_zero_too() {
        assert_eq!((less(6, 4), less(4, 4), less(3, 4)), (2, 0, -1));
    }
}
