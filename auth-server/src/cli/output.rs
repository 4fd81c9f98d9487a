//! What commands print: lines and tables for people, JSON for machines.

use std::io::Write as _;

use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Result;

/// A part of a long list.
#[derive(Args)]
pub(super) struct Page {
    /// Begin after this one
    #[arg(long, value_name = "LAST")]
    after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub(super) limit: i64,
    /// Answer in JSON; `next` is the value for --after, if there may be more
    #[arg(long)]
    pub(super) json: bool,
}

impl Page {
    /// The key to begin after; every key is greater than an empty one.
    pub(super) fn after(&self) -> String {
        self.after.clone().unwrap_or_default()
    }

    pub(super) fn is_first(&self) -> bool {
        self.after.is_none()
    }

    /// Where the next part begins, when this one is full.
    pub(super) fn next<'a, T>(&self, rows: &'a [T], key: fn(&T) -> &String) -> Option<&'a str> {
        let full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= self.limit);
        rows.last().filter(|_| full).map(|row| key(row).as_str())
    }

    /// Says on standard error that there may be more, so that standard output stays a table.
    pub(super) fn tell_more(&self, command: &str, next: Option<&str>) -> Result {
        if let Some(next) = next {
            let limit = self.limit;
            let next = printable(next);
            hint(&format!(
                "there may be more: auth-server {command} --limit {limit} --after '{next}'"
            ))?;
        }
        Ok(())
    }
}

/// One line on standard output.
pub(super) fn line(text: &str) -> Result {
    writeln!(std::io::stdout(), "{}", printable(text))?;
    Ok(())
}

/// One line for people beside what a script reads.
pub(super) fn hint(text: &str) -> Result {
    writeln!(std::io::stderr(), "{text}")?;
    Ok(())
}

/// One JSON value on a line.
pub(super) fn json(value: &Value) -> Result {
    writeln!(std::io::stdout(), "{value}")?;
    Ok(())
}

/// Rows under their headings, in columns as wide as needed.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result {
    let mut all = vec![headings.map(str::to_owned)];
    all.extend(rows.map(|row| row.map(|cell| printable(&cell))));
    let widths: [usize; N] = std::array::from_fn(|column| {
        let width = |row: &[String; N]| row[column].chars().count();
        all.iter().map(width).max().unwrap_or(0)
    });
    let mut out = std::io::stdout().lock();
    for row in &all {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Names come from strangers: what would steer the terminal is not printed.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Unix seconds as people write them.
pub(super) fn time(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}
