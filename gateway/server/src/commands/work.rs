//! `datamesh gc|repair`: background work.

use super::Failed;
use super::remote::{Connection, Remote};
use super::status::work_table;
use crate::admin::shapes::{Status, Work as Shape};
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

/// Options of `repair`.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// `start`: look at all stripes now, whether or not something is known to be amiss.
    #[arg(value_parser = ["start"])]
    action: Option<String>,
    #[command(flatten)]
    work: Work,
}

impl Repair {
    pub(crate) fn run(self) -> Result<(), Failed> {
        if self.action.is_none() {
            return self.work.run("repair");
        }
        let wait = self.work.wait;
        self.work.remote.with(async |mut connection| {
            let nothing = serde_json::Value::Null;
            let mut work: Shape = connection.post("/v1/work/repair", &nothing).await?;
            if wait {
                let before = walks(&mut connection).await?;
                while walks(&mut connection).await? == before {
                    tokio::time::sleep(LOOK).await;
                }
                work = watch(&mut connection, "repair", work).await?;
            }
            connection.show(&work, |work| work_table(std::slice::from_ref(work)))
        })
    }
}

/// Walks over all stripes that came to their end.
async fn walks(connection: &mut Connection) -> Result<u64, Failed> {
    let status: Status = connection.get("/v1/status").await?;
    Ok(status.rebuild.walks)
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

/// `datamesh gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// `start`: free what waits now, and go over every drive for copies that nothing names.
    #[arg(value_parser = ["start"], conflicts_with = "space")]
    action: Option<String>,
    /// Count every byte of the segments of each drive instead.
    #[arg(long, conflicts_with = "wait")]
    space: bool,
    #[command(flatten)]
    work: Work,
}

impl Gc {
    pub(crate) fn run(self) -> Result<(), Failed> {
        if self.space {
            return self.work.remote.with(super::scrub::space);
        }
        if self.action.is_none() {
            return self.work.run("gc");
        }
        let wait = self.work.wait;
        self.work.remote.with(async |mut connection| {
            let nothing = serde_json::Value::Null;
            let mut work: Shape = connection.post("/v1/work/gc", &nothing).await?;
            if wait {
                work = watch(&mut connection, "gc", work).await?;
            }
            connection.show(&work, |work| work_table(std::slice::from_ref(work)))
        })
    }
}
