//! Which drives may be dropped from the layout when it changes more than once.

use crate::layout::{at_rest, busy, change, fill, layout, leave, reads_all, stay, stripes};
use crate::support::{Cluster, bytes};
use engine_core::meta::{Query, Stripe};
use engine_core::placement::LayoutChange;
use engine_node::RebuildPhase;
use engine_types::DriveId;

/// Whether the drive may be dropped from the layout as it is known now.
fn may_go(cluster: &Cluster, drive: u32) -> bool {
    let version = cluster.engine.drives().layout().version;
    let departed = cluster.engine.rebuild_status().departed_under(version);
    departed.contains(&DriveId(drive))
}

/// Drive 4 leaves, and is found to have departed.
async fn four_departs(cluster: &Cluster) {
    leave(cluster, 4).await;
    at_rest(cluster, 4, 2).await;
    cluster
        .until("emptied", |c| c.drives[3].store.tokens().is_empty())
        .await;
    cluster.metadata.advance(120_000);
    cluster
        .until("departed, and the walk has ended", |c| {
            may_go(c, 4) && c.engine.rebuild_status().phase == RebuildPhase::Idle
        })
        .await;
}

fn names(stripe: &Stripe, drive: u32) -> bool {
    let mut slots = stripe.slots.iter().flatten();
    slots.any(|slot| slot.drive == DriveId(drive))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_departed_before_its_removal_was_called_off_departs_anew_or_not_at_all() {
    let cluster = Cluster::with(8, busy()).await;
    let mut sent = fill(&cluster).await;
    four_departs(&cluster).await;
    // A walk that stands still: what was found last stays published meanwhile.
    let scan = Query::ScanParts {
        after: None,
        limit: 1,
    };
    cluster.metadata.hold(Some(&scan));
    cluster.engine.start_rebuild();
    cluster
        .until("a survey has begun", |c| {
            c.engine.rebuild_status().phase == RebuildPhase::Surveying
        })
        .await;
    stay(&cluster, 4).await;
    assert!(!may_go(&cluster, 4), "it stays");
    for n in 0..20 {
        let (name, body) = (format!("again-{n}"), bytes(30_000, n));
        cluster.put(&name, &body).await.unwrap();
        sent.push((name, body));
    }
    assert!(
        !cluster.drives[3].store.tokens().is_empty(),
        "it takes shards again"
    );
    leave(&cluster, 4).await;
    assert!(!may_go(&cluster, 4), "no survey has begun since");
    let walks = cluster.engine.rebuild_status().walks;
    cluster.metadata.hold(None);
    cluster
        .until("walked", |c| c.engine.rebuild_status().walks > walks)
        .await;
    assert!(
        !stripes(&cluster).await.iter().any(|s| names(s, 4)),
        "its shards are moved"
    );
    assert!(
        !may_go(&cluster, 4),
        "a write begun while it stayed may still be under way"
    );
    cluster.metadata.advance(120_000);
    cluster.until("departed again", |c| may_go(c, 4)).await;
    change(&cluster, LayoutChange::Drop(DriveId(4))).await;
    assert_eq!(layout(&cluster).await.counted(), 7);
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_departs_though_the_layout_changes_for_others() {
    let cluster = Cluster::with(8, busy()).await;
    let sent = fill(&cluster).await;
    four_departs(&cluster).await;
    leave(&cluster, 5).await;
    // No time passes here: it does not wait for the watermark once more.
    cluster
        .until("found anew under this layout", |c| may_go(c, 4))
        .await;
    change(&cluster, LayoutChange::Drop(DriveId(4))).await;
    at_rest(&cluster, 4, 2).await;
    cluster.metadata.advance(120_000);
    cluster
        .until("the other has departed too", |c| may_go(c, 5))
        .await;
    reads_all(&cluster, &sent).await;
}
