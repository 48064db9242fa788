//! What the store does beside its clients' requests: scrubs asked for while the load runs, and the
//! counters that show that packing, emptying, freeing and scrubbing happened at all.

use crate::server::Server;
use bench::client::{Client, Payload};
use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// A pass begins again after so long.
const SCRUB_EVERY: Duration = Duration::from_secs(5);

/// Counters that must have moved, and what they are called in the last line.
const CHORES: [(&str, &str); 4] = [
    ("datamesh_packed_total", "packed"),
    ("datamesh_emptied_shards_total", "emptied"),
    ("datamesh_engine_shards_freed_total", "freed"),
    ("datamesh_scrub_bytes_total", "scrubbed"),
];

/// Begins a scrub again and again until `end`.
pub(crate) async fn scrub_until(mut admin: Client, end: Instant) {
    while Instant::now() + SCRUB_EVERY < end {
        // Refused while the last one still runs: the next round asks again.
        let json = [("content-type", "application/json")];
        let _answer = admin
            .send(
                Method::POST,
                "/v1/scrub",
                &json,
                "{}".into(),
                Payload::Signed,
            )
            .await;
        tokio::time::sleep(SCRUB_EVERY).await;
    }
}

/// The sum of each counter over its labels.
pub(crate) async fn done(server: &Server) -> Result<Map<String, Value>, String> {
    let answer = server
        .admin_client()
        .send(Method::GET, "/metrics", &[], Bytes::new(), Payload::Signed)
        .await
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&answer.body);
    Ok(CHORES
        .iter()
        .map(|(name, called)| ((*called).to_owned(), sum(&text, name).into()))
        .collect())
}

fn sum(text: &str, name: &str) -> u64 {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let text = "# HELP a_total x\na_total{drive=\"1\"} 2\na_total{drive=\"2\"} 3\na_total_more 9\nb 1\n";
        assert_eq!(
            (sum(text, "a_total"), sum(text, "b"), sum(text, "c")),
            (5, 1, 0)
        );
    }
}
