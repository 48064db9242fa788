//! More silent drives than stripes bear: our own trouble, not theirs.

use crate::support::{Cluster, bytes, quick};
use engine_node::{EngineOptions, Service};
use std::sync::Arc;
use std::time::Duration;

fn out(cluster: &Cluster) -> usize {
    let drives = cluster.engine.drives().status();
    let silent = |service: &Service| matches!(service, Service::Out(why) if why.contains("silent"));
    drives.iter().filter(|drive| silent(&drive.service)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_drives_go_out_for_silence_than_stripes_bear() {
    let options = EngineOptions {
        silence: Duration::from_millis(300),
        ..quick()
    };
    let cluster = Arc::new(Cluster::with(6, options).await);
    for drive in &cluster.drives {
        drive.store.set_silent(true);
    }
    let writing = Arc::clone(&cluster);
    let put = tokio::spawn(async move { writing.put("k", &bytes(300_000, 7)).await });
    cluster.until("two are out", |c| out(c) == 2).await;
    for drive in &cluster.drives {
        drive.store.set_silent(false);
    }
    // Four are left: with one more taken out this would be refused.
    put.await.unwrap().unwrap();
    assert_eq!(out(&cluster), 2);
    assert_eq!(cluster.all("k").await.unwrap(), bytes(300_000, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_takes_any_drive_out() {
    let options = EngineOptions {
        silence: Duration::from_millis(300),
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    for drive in &cluster.drives[..2] {
        drive.store.set_silent(true);
    }
    cluster.put("two", &bytes(300_000, 8)).await.unwrap();
    assert_eq!(out(&cluster), 2);
    cluster.drives[2].store.fail("EIO");
    cluster.put("three", &bytes(300_000, 8)).await.unwrap_err();
    let third = cluster.engine.drives().status()[2].service.clone();
    assert!(matches!(third, Service::Out(_)), "{third:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_out_of_handles_takes_no_drive_out() {
    let cluster = Cluster::with(6, quick()).await;
    cluster.put("before", &bytes(300_000, 9)).await.unwrap();
    let starve = |starved| {
        for drive in &cluster.drives {
            drive.store.set_starved(starved);
        }
    };
    starve(true);
    cluster.put("during", &bytes(300_000, 9)).await.unwrap_err();
    cluster.all("before").await.unwrap_err();
    let drives = cluster.engine.drives().status();
    let up = drives.iter().all(|drive| drive.service == Service::Up);
    assert!(up, "{drives:?}");
    starve(false);
    cluster.put("after", &bytes(300_000, 9)).await.unwrap();
    assert_eq!(cluster.all("before").await.unwrap(), bytes(300_000, 9));
}
