//! Tables, sizes and times for people.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;

/// A table with a head.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    table
        .lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect()
}

/// `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut unit = 0;
    let mut scaled = count;
    let mut tenths = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        tenths = scaled % 1024 * 10 / 1024;
        scaled /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{scaled}.{tenths} {}", UNITS[unit]),
    }
}

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `3d 4h 5m`, `12s`: the largest units that are not zero, at most three.
pub(crate) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let from = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    parts[from..]
        .iter()
        .take(3)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// RFC 3339, UTC, to the second.
pub(crate) fn time(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_e| unix_ms.to_string(), |t| t.to_string())
}

/// The text, or a dash.
pub(crate) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".into(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(
            (bytes(0), bytes(1023), bytes(1024)),
            ("0 B".into(), "1023 B".into(), "1.0 KiB".into())
        );
        assert_eq!(bytes(3 << 30 | 1 << 29), "3.5 GiB");
        assert_eq!(bytes(u64::MAX), "16383.9 PiB");
        assert_eq!(
            (duration(0), duration(61), duration(90_061)),
            ("0s".into(), "1m 1s".into(), "1d 1h 1m".into())
        );
        assert_eq!(time(1_800_000_000_123), "2027-01-15T08:00:00Z");
    }

    #[test]
    fn a_table_has_a_head_and_aligned_rows_and_no_trailing_blanks() {
        let rows = vec![
            vec!["1".to_owned(), "up".to_owned()],
            vec!["22".to_owned(), "out".to_owned()],
        ];
        assert_eq!(
            table(&["id", "state"], rows),
            "ID  STATE\n1   up\n22  out\n"
        );
    }
}
