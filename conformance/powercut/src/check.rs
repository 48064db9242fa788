//! A server on drives as a cut left them: every key must be as acknowledged, the list must name the
//! same keys, and the store must take a new object.

use crate::history::{State, Verdict, judge};
use crate::record::Recording;
use crate::say;
use crate::server::Server;
use crate::workload::{BUCKET, bytes_of, recognise};
use bench::client::{Answer, Client, Payload};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What was found, over all cuts so far.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Keys looked at.
    pub(crate) checked: u64,
    /// … of which the acknowledged state is gone, or that could not be read, or were not listed.
    pub(crate) lost: u64,
    /// … that answer bytes nobody wrote.
    pub(crate) wrong: u64,
    /// Cuts after which the server did not start.
    pub(crate) not_started: u64,
    /// Cuts after which it took no new object.
    pub(crate) not_writable: u64,
}

impl Sums {
    /// Nothing was lost.
    pub(crate) fn good(&self) -> bool {
        self.lost + self.wrong + self.not_started + self.not_writable == 0 && self.checked > 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.not_started += other.not_started;
        self.not_writable += other.not_writable;
    }
}

/// One cut.
#[derive(Debug)]
pub(crate) struct Check {
    /// The drives are rebuilt below it.
    pub(crate) store: PathBuf,
    logs: PathBuf,
    cut: u64,
}

impl Check {
    /// Makes room for it below `rebuilt`; logs go beside the keys in `work`.
    pub(crate) fn prepare(
        rebuilt: &Path,
        work: &Path,
        number: usize,
        cut: u64,
    ) -> std::io::Result<Self> {
        let store = rebuilt.join(format!("rebuilt-{number}"));
        std::fs::create_dir_all(&store)?;
        Ok(Self {
            store,
            logs: work.join("keys"),
            cut,
        })
    }

    /// Starts a server, looks at everything, and removes the drives again where all was right.
    pub(crate) async fn look(self, binary: &Path, recording: &Recording) -> Sums {
        let mut sums = Sums::default();
        match Server::start(binary, &self.store, &self.logs, None).await {
            Ok(server) => {
                let mut client = Client::new(server.target.clone());
                let present = self.read_all(&mut client, recording, &mut sums).await;
                self.list(&mut client, &present, &mut sums).await;
                self.write(&mut client, &mut sums).await;
                server.kill().await;
            }
            Err(error) => {
                self.tell(&error);
                sums.not_started += 1;
            }
        }
        // What went wrong is kept to be looked at.
        if sums.good() && std::fs::remove_dir_all(&self.store).is_err() {
            self.tell("the rebuilt drives cannot be removed");
        }
        sums
    }

    fn tell(&self, what: &str) {
        say(&format!(
            "cut at {} ({}): {what}",
            self.cut,
            self.store.display()
        ));
    }

    /// Reads every key; those that are there.
    async fn read_all(
        &self,
        client: &mut Client,
        recording: &Recording,
        sums: &mut Sums,
    ) -> BTreeSet<String> {
        let mut present = BTreeSet::new();
        for (key, history) in &recording.histories {
            let answer = send(
                client,
                Method::GET,
                &format!("/{BUCKET}/{key}"),
                Bytes::new(),
            )
            .await;
            let found = match answer {
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => vec![State::Absent],
                Ok(answer) if answer.status.is_success() => recognise(history, &answer.body),
                Ok(answer) => {
                    self.tell(&format!("{key}: {}", answer.status));
                    sums.lost += 1;
                    continue;
                }
                Err(error) => {
                    self.tell(&format!("{key}: {error}"));
                    sums.lost += 1;
                    continue;
                }
            };
            sums.checked += 1;
            if found != [State::Absent] {
                present.insert(key.clone());
            }
            let verdict = judge(history, self.cut, &found);
            if verdict != Verdict::Right {
                self.tell(&format!("{key}: {verdict:?}, found {found:?}"));
                sums.lost += u64::from(verdict == Verdict::Lost);
                sums.wrong += u64::from(verdict == Verdict::Wrong);
            }
        }
        present
    }

    async fn list(&self, client: &mut Client, present: &BTreeSet<String>, sums: &mut Sums) {
        let answer = send(
            client,
            Method::GET,
            &format!("/{BUCKET}?list-type=2"),
            Bytes::new(),
        )
        .await;
        let listed = answer
            .map(|a| keys_of(&String::from_utf8_lossy(&a.body)))
            .unwrap_or_default();
        if listed != *present {
            let differ: Vec<_> = listed.symmetric_difference(present).collect();
            self.tell(&format!("listed and read differ: {differ:?}"));
            sums.lost += differ.len() as u64;
        }
    }

    async fn write(&self, client: &mut Client, sums: &mut Sums) {
        let (path, body) = (format!("/{BUCKET}/after"), bytes_of(u64::MAX, 100_000));
        let put = send(client, Method::PUT, &path, body.clone()).await;
        let got = send(client, Method::GET, &path, Bytes::new()).await;
        let put = put.map(|a| a.status).map_err(|e| self.tell(&e));
        if put != Ok(StatusCode::OK) || got.map(|a| a.body) != Ok(body) {
            self.tell(&format!("a new object: {put:?}"));
            sums.not_writable += 1;
        }
    }
}

async fn send(
    client: &mut Client,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Answer, String> {
    client
        .send(method, path, &[], body, Payload::Signed)
        .await
        .map_err(|e| e.to_string())
}

fn keys_of(list: &str) -> BTreeSet<String> {
    list.split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split("</Key>").next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_list() {
        let list =
            "<A><Contents><Key>w0/k1</Key></Contents><Contents><Key>w1/k2</Key></Contents></A>";
        assert_eq!(
            keys_of(list),
            BTreeSet::from(["w0/k1".to_owned(), "w1/k2".to_owned()])
        );
        assert_eq!(keys_of("<A></A>"), BTreeSet::new());
    }
}
