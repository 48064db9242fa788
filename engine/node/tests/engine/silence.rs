//! More silent drives than stripes bear: our own trouble, not theirs.

use crate::support::{Cluster, bytes, quick};
use engine_core::ports::DriveFiles;
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

/// Reads go on while writes hang: a database's files in the page cache, a full queue in the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_drive_whose_writes_hang_stays_out_while_it_answers_reads() {
    let silence = Duration::from_secs(1);
    let options = EngineOptions {
        silence,
        background: true,
        probe_period: Duration::from_millis(10),
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    let sent = bytes(300_000, 10);
    cluster.put("before", &sent).await.unwrap();
    let hung = &cluster.drives[1].store;
    hung.set_writes_silent(true);
    cluster.put("first", &sent).await.unwrap();
    assert_eq!(out(&cluster), 1);
    let looked = hung.frees();
    while hung.frees() < looked + 3 {
        assert_eq!(out(&cluster), 1, "it is not put back");
        assert!(cluster.all("before").await.unwrap() == sent);
    }
    let began = std::time::Instant::now();
    cluster.put("second", &sent).await.unwrap();
    assert!(began.elapsed() < silence, "{:?}", began.elapsed());
    hung.set_writes_silent(false);
    cluster.until("it is back", |c| out(c) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_are_answered_do_not_excuse_a_drive_whose_writes_hang() {
    let silence = Duration::from_secs(1);
    let cluster = Cluster::with(6, EngineOptions { silence, ..quick() }).await;
    let sent = bytes(300_000, 11);
    cluster.put("before", &sent).await.unwrap();
    // A data shard's: each read asks it, and is answered.
    let asked = crate::scrub::slots(&cluster, "before").await[0];
    cluster.store(asked).set_writes_silent(true);
    let began = std::time::Instant::now();
    let mut put = std::pin::pin!(cluster.put("during", &sent));
    while futures::poll!(&mut put).is_pending() {
        assert!(cluster.all("before").await.unwrap() == sent);
        assert!(began.elapsed() < 6 * silence, "{:?}", began.elapsed());
    }
    assert_eq!(out(&cluster), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_whose_reads_hang_goes_out_though_nobody_writes() {
    let hedge_after = Duration::from_secs(1);
    let options = EngineOptions {
        silence: 2 * hedge_after,
        hedge_after,
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    let sent = bytes(300_000, 12);
    cluster.put("k", &sent).await.unwrap();
    // A data shard's: a healthy read asks for it.
    let first = crate::scrub::slots(&cluster, "k").await[0];
    cluster.store(first).set_reads_silent(true);
    assert!(cluster.all("k").await.unwrap() == sent, "rebuilt meanwhile");
    assert_eq!(out(&cluster), 0, "not so soon");
    cluster.until("it is out", |c| out(c) == 1).await;
    let began = std::time::Instant::now();
    assert!(cluster.all("k").await.unwrap() == sent);
    assert!(began.elapsed() < hedge_after, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_answers_from_memory_alone_stays_out() {
    let silence = Duration::from_millis(200);
    let options = EngineOptions {
        background: true,
        probe_period: Duration::from_millis(10),
        silence,
        hedge_after: silence / 2,
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    let sent = bytes(300_000, 14);
    cluster.put("k", &sent).await.unwrap();
    let store = cluster.store(crate::scrub::slots(&cluster, "k").await[0]);
    store.set_reads_silent(true);
    store.set_medium_silent(true);
    assert!(cluster.all("k").await.unwrap() == sent, "rebuilt meanwhile");
    cluster.until("it is out", |c| out(c) == 1).await;
    store.set_reads_silent(false);
    let looked = store.frees();
    cluster
        .until("it is looked at", |_| store.frees() > looked + 2)
        .await;
    assert_eq!(out(&cluster), 1);
    store.set_medium_silent(false);
    cluster.until("it is back", |c| out(c) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_was_read_only_takes_writes_once_it_can() {
    let options = EngineOptions {
        background: true,
        probe_period: Duration::from_millis(10),
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    let drive = &cluster.drives[1];
    drive.store.set_read_only(true);
    cluster.put("k", &bytes(300_000, 13)).await.unwrap();
    let service = |c: &Cluster| c.engine.drives().status()[1].service.clone();
    assert_eq!(service(&cluster), Service::ReadOnly);
    let looked = drive.store.frees();
    cluster
        .until("it is looked at", |_| drive.store.frees() > looked + 2)
        .await;
    assert_eq!(service(&cluster), Service::ReadOnly);
    drive.store.set_read_only(false);
    cluster
        .until("it is up", |c| service(c) == Service::Up)
        .await;
    assert!(drive.files.read("shards/probe").is_err(), "nothing is left");
}
