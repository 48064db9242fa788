//! `datamesh object explain s3://BUCKET/KEY`.

use super::Failed;
use super::remote::Remote;
use super::render::{bytes, or_dash, table, time};
use crate::admin::percent;
use crate::admin::shapes::Explained;
use clap::{Args, Subcommand};
use std::fmt::Write;

/// Look at where an object's bytes are.
#[derive(Debug, Args)]
pub(crate) struct Object {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Parts, stripes and shards of an object, on which drives, and how many of those may be lost.
    Explain {
        /// Its name: `s3://BUCKET/KEY`.
        object: String,
        /// A version's id [default: the current one].
        #[arg(long)]
        version_id: Option<String>,
        /// Only this part.
        #[arg(long)]
        part: Option<u16>,
        /// Read every shard whole and check it.
        #[arg(long)]
        verify: bool,
    },
}

impl Object {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let Action::Explain {
            object,
            version_id,
            part,
            verify,
        } = self.action;
        let mut path = query(&object)?;
        if let Some(version) = version_id {
            path += &["&version=", &percent(version.as_bytes())].concat();
        }
        if let Some(part) = part {
            path += &["&part=", &part.to_string()].concat();
        }
        path += if verify { "&verify=true" } else { "" };
        self.remote.with(async |mut connection| {
            let explained: Explained = connection.get(&path).await?;
            connection.show(&explained, text)
        })
    }
}

fn query(object: &str) -> Result<String, Failed> {
    let named = object
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'));
    let (bucket, key) = named
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| Failed::wrong(format!("{object}: write s3://BUCKET/KEY")))?;
    Ok(format!(
        "/v1/object?bucket={}&key={}",
        percent(bucket.as_bytes()),
        percent(key.as_bytes())
    ))
}

fn text(explained: &Explained) -> String {
    let mut text = String::new();
    let latest = if explained.latest {
        "current"
    } else {
        "not current"
    };
    // Writing to a String does not fail.
    let _infallible = write!(
        text,
        "object     s3://{}/{}\nversion    {} ({latest})\nsize       {} ({} bytes)\nETag       {}\nmodified   {}\n\
         class      {}\npartition  {}\nbearable   {}\n",
        explained.bucket,
        explained.key,
        explained.version,
        bytes(explained.size_bytes),
        explained.size_bytes,
        explained.etag,
        time(explained.modified_ms),
        explained.storage_class,
        explained.partition,
        bearable(explained.losses_tolerated),
    );
    for part in &explained.parts {
        let _infallible = write!(
            text,
            "\npart {}: {} bytes, {} ({})\n",
            part.number, part.size_bytes, part.place, part.data
        );
        let rows = part.stripes.iter().flat_map(|stripe| {
            stripe.shards.iter().map(move |shard| {
                vec![
                    stripe.index.to_string(),
                    format!("{}+{}", stripe.k, stripe.m),
                    shard.index.to_string(),
                    or_dash(shard.drive),
                    shard.state.clone(),
                    or_dash(shard.verified_ms.map(time)),
                    stripe.losses_tolerated.to_string(),
                ]
            })
        });
        if !part.stripes.is_empty() {
            text += &table(
                &[
                    "stripe", "code", "shard", "drive", "state", "verified", "bearable",
                ],
                rows,
            );
        }
    }
    if explained.truncated {
        text += "more stripes than are shown: give --part N\n";
    }
    text
}

fn bearable(losses: i32) -> String {
    match losses {
        ..0 => format!("cannot be read now: {} shards or replicas too few", -losses),
        0 => "no further drive may be lost".into(),
        1 => "1 more drive may be lost".into(),
        more => format!("{more} more drives may be lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_name_is_read() {
        assert_eq!(
            query("s3://b/k/é +").ok().as_deref(),
            Some("/v1/object?bucket=b&key=k%2F%C3%A9%20%2B")
        );
        for bad in ["b/k", "s3://b", "s3://b/", "s3:///k"] {
            assert_eq!(query(bad).expect_err("refused").code, 2, "{bad}");
        }
        assert!(bearable(-1).starts_with("cannot be read"));
    }
}
