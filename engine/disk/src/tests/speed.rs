use super::*;
use std::sync::Arc;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn speed() {
    for (length, writers, total) in [
        (4000u32 - 4000 % 64 - 640, 64, 20000u64),
        (65536, 16, 8000),
        (2 << 20, 8, 500),
    ] {
        let drive = new_drive();
        let (store, _) = open_with(
            drive.path(),
            Options {
                segment_bytes: 256 << 20,
                ..options()
            },
        )
        .await;
        let store = Arc::new(store);
        let shards: Vec<_> = (0..64).map(|n| shard(UUID, 10, n, length)).collect();
        let t = Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for w in 0..writers {
            let (store, shards) = (Arc::clone(&store), shards.clone());
            set.spawn(async move {
                for n in 0..total / writers {
                    let (mut h, p) = shards[(n % 64) as usize].clone();
                    let mut e = [0; 10];
                    e[2..].copy_from_slice(&(w * 1_000_000 + n).to_be_bytes());
                    h.token = engine_types::BirthId::born(engine_types::Stamp(10), e);
                    store.append(h, p).await.unwrap();
                }
            });
        }
        while let Some(x) = set.join_next().await {
            x.unwrap();
        }
        let s = t.elapsed().as_secs_f64();
        let n = (total / writers * writers) as f64;
        println!(
            "append {length} x{writers}: {:.0}/s {:.0} MB/s",
            n / s,
            n * length as f64 / s / 1e6
        );
        let es = store
            .entries(None, engine_types::Stamp(1000), 100000)
            .await
            .unwrap();
        let t = Instant::now();
        let mut set = tokio::task::JoinSet::new();
        let es = Arc::new(es);
        for w in 0..writers as usize {
            let (store, es) = (Arc::clone(&store), Arc::clone(&es));
            set.spawn(async move {
                for e in es.iter().skip(w).step_by(writers as usize) {
                    store.read(e.token, 0..u32::MAX).await.unwrap();
                }
            });
        }
        while let Some(x) = set.join_next().await {
            x.unwrap();
        }
        let s = t.elapsed().as_secs_f64();
        println!(
            "read {length} x{writers}: {:.0}/s {:.0} MB/s",
            n / s,
            n * length as f64 / s / 1e6
        );
        drop(store);
        let t = Instant::now();
        let (_, r) = open_with(drive.path(), options()).await;
        println!("reopen after drop {:?} {r:?}", t.elapsed());
    }
}
