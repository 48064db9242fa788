//! `datamesh scrub|gc|repair`: background work.

use super::Failed;
use super::remote::{Connection, Remote};
use super::status::work_table;
use crate::admin::shapes::Work as Shape;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Options of `gc` and `repair`.
#[derive(Debug, Args)]
pub(crate) struct Work {
    /// Watch until nothing waits.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Work {
    pub(crate) fn run(self, name: &str) -> Result<(), Failed> {
        let wait = self.wait;
        self.remote.with(async |mut connection| {
            let mut work = look(&mut connection, name).await?;
            if wait {
                work = watch(&mut connection, name, work).await?;
            }
            connection.show(&work, |work| work_table(std::slice::from_ref(work)))
        })
    }
}

async fn look(connection: &mut Connection, name: &str) -> Result<Shape, Failed> {
    let all: Vec<Shape> = connection.get("/v1/work").await?;
    let found = all.into_iter().find(|work| work.name == name);
    found.ok_or_else(|| {
        Failed::because(format!(
            "the server does not tell of {name}: is it older than this command?"
        ))
    })
}

async fn watch(connection: &mut Connection, name: &str, first: Shape) -> Result<Shape, Failed> {
    let bar = ProgressBar::new(first.waiting);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(name.to_owned());
    let mut work = first;
    loop {
        if let Some(problem) = work.problem {
            return Err(Failed::because(problem));
        }
        if work.waiting == 0 && !work.more {
            bar.finish_and_clear();
            return Ok(work);
        }
        bar.set_length(bar.length().unwrap_or(0).max(work.waiting));
        bar.set_position(bar.length().unwrap_or(0).saturating_sub(work.waiting));
        tokio::time::sleep(LOOK).await;
        work = look(connection, name).await?;
    }
}

/// `datamesh scrub`.
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    #[command(flatten)]
    remote: Remote,
}

impl Scrub {
    pub(crate) fn run(self) -> Result<(), Failed> {
        self.remote.with(async |mut connection| {
            let work: Shape = connection
                .post("/v1/work/scrub", &serde_json::Value::Null)
                .await?;
            connection.show(&work, |work| work_table(std::slice::from_ref(work)))
        })
    }
}
