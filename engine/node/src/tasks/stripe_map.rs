//! One stripe's place in the map: read, and changed by compare-and-set. The one way by which
//! background work brings shards elsewhere.

use crate::EngineError;
use crate::engine::Inner;
use crate::proposals::Outcome;
use crate::stripe_read::StripeAt;
use crate::written::Written;
use engine_core::meta::{Change, Query, Refusal, Reply, Stripe};

/// The stripe as the map has it now; none: its part is no more.
pub(super) async fn current(inner: &Inner, at: &StripeAt) -> Result<Option<Stripe>, EngineError> {
    let query = Query::Part {
        bucket: at.bucket,
        key: at.key.clone(),
        data: at.data,
        first: at.stripe,
    };
    let Reply::Part(found) = inner.ask(at.partition, query).await? else {
        return Err(EngineError::unexpected("Part"));
    };
    Ok(found.and_then(|part| part.stripes.into_iter().next()))
}

/// Names the new copies, which are durable, and buries the old ones. False: the map moved meanwhile,
/// and what was written is freed, or is an orphan.
pub(super) async fn change(
    inner: &Inner,
    at: &StripeAt,
    (from, to): (Stripe, Stripe),
    written: &Written,
) -> Result<bool, EngineError> {
    let change = Change::MoveStripe {
        bucket: at.bucket,
        key: at.key.clone(),
        data: at.data,
        index: at.stripe,
        from: Box::new(from),
        to: Box::new(to),
    };
    written.disarm();
    match inner.propose(at.partition, change).await {
        Outcome::Applied(_) => Ok(true),
        // Too old: what was written is an orphan by now.
        Outcome::Refused(Refusal::TooOld) => Ok(false),
        Outcome::Refused(_) => {
            written.arm();
            Ok(false)
        }
        Outcome::NotProposed(error) => {
            written.arm();
            Err(error)
        }
        Outcome::Unknown(error) => Err(error),
    }
}
