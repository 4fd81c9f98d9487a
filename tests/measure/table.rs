//! What was measured: one row a measure, with its limit, the ratio of both, and the target that the ratio is held to. As a
//! table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Outcome;

/// What the ratio of value to limit must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    Below(f64),
}

impl Target {
    fn allows(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::Below(most) => ratio < most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least:.2}"),
            Self::Below(most) => format!("< {most:.2}"),
        }
    }
}

/// What a value is compared with: a raw limit of this machine, a quiet value, or the figure that the target names.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) what: String,
    pub(crate) value: f64,
}

impl Limit {
    pub(crate) fn of(what: impl Into<String>, value: f64) -> Self {
        let what = what.into();
        Self { what, value }
    }
}

/// One row.
#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) limit: Limit,
    pub(crate) target: Target,
    /// How the load went that gave the value, where there was one.
    pub(crate) load: Option<Outcome>,
    /// What a reader should know beside the figures.
    pub(crate) notes: Vec<String>,
    /// What went wrong: any entry fails the measure, whatever its ratio.
    pub(crate) failures: Vec<String>,
    /// Other servers under the same load: name and outcome.
    pub(crate) peers: Vec<(&'static str, Outcome)>,
}

impl Measure {
    pub(crate) fn new(
        name: &'static str,
        value: f64,
        unit: &'static str,
        limit: Limit,
        target: Target,
    ) -> Self {
        Self {
            name,
            value,
            unit,
            limit,
            target,
            load: None,
            notes: Vec::new(),
            failures: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// A measure whose value is the rate of a load; requests that failed fail the measure.
    pub(crate) fn rate(name: &'static str, load: Outcome, limit: Limit, target: Target) -> Self {
        let mut measure = Self::new(name, load.rate, "/s", limit, target);
        measure.failures.extend(load.complaint());
        measure.load = Some(load);
        measure
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn fail_if(mut self, failed: bool, why: impl Into<String>) -> Self {
        if failed {
            self.failures.push(why.into());
        }
        self
    }

    fn ratio(&self) -> f64 {
        self.value / self.limit.value
    }

    fn met(&self) -> bool {
        self.failures.is_empty() && self.target.allows(self.ratio())
    }

    fn json(&self) -> Value {
        let peers: serde_json::Map<String, Value> = self
            .peers
            .iter()
            .map(|(name, outcome)| {
                let ratio = self.value / outcome.rate;
                let load = outcome.json();
                (
                    (*name).to_owned(),
                    json!({"value": outcome.rate, "ratio": ratio, "load": load}),
                )
            })
            .collect();
        json!({
            "value": self.value,
            "unit": self.unit,
            "limit": {"what": self.limit.what, "value": self.limit.value},
            "ratio": self.ratio(),
            "target": self.target.text(),
            "met": self.met(),
            "load": self.load.as_ref().map(Outcome::json),
            "notes": self.notes,
            "failures": self.failures,
            "peers": peers,
        })
    }
}

/// Everything that one run gives.
pub(crate) struct Table {
    /// Where and when: machine, cores, date, commit, settings of the run.
    pub(crate) about: Vec<(&'static str, Value)>,
    /// What the machine can do at most: name, value, unit.
    pub(crate) limits: Vec<(String, f64, &'static str)>,
    pub(crate) measures: Vec<Measure>,
}

impl Table {
    pub(crate) fn json(&self) -> Value {
        let limits: serde_json::Map<String, Value> = self
            .limits
            .iter()
            .map(|(name, value, unit)| (name.clone(), json!({"value": value, "unit": unit})))
            .collect();
        let measures: serde_json::Map<String, Value> = self
            .measures
            .iter()
            .map(|measure| (measure.name.to_owned(), measure.json()))
            .collect();
        let mut all: serde_json::Map<String, Value> = self
            .about
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        all.insert("limits".to_owned(), limits.into());
        all.insert("measures".to_owned(), measures.into());
        all.into()
    }

    /// Tables in Markdown, so that they can stand in a README as they are.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.about {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "{name}: {value}  ");
        }
        text.push('\n');
        if !self.limits.is_empty() {
            let rows = self.limits.iter();
            let rows = rows.map(|(name, value, unit)| vec![name.clone(), quantity(*value, unit)]);
            grid(
                &mut text,
                &["limit of this machine", "value"],
                rows.collect(),
            );
        }
        let heads = [
            "measure",
            "value",
            "limit",
            "ratio",
            "target",
            "met",
            "p50",
            "p99",
            "CPU/request",
            "RSS",
        ];
        let rows = self.measures.iter().map(row).collect();
        grid(&mut text, &heads, rows);
        let peers: Vec<_> = self.measures.iter().flat_map(peer_rows).collect();
        if !peers.is_empty() {
            let heads = [
                "measure",
                "peer",
                "value",
                "we / peer",
                "p50",
                "p99",
                "CPU/request",
                "RSS",
            ];
            grid(&mut text, &heads, peers);
        }
        for measure in &self.measures {
            for note in &measure.notes {
                let _ = writeln!(text, "- {}: {note}", measure.name);
            }
            for failure in &measure.failures {
                let _ = writeln!(text, "- {} FAILED: {failure}", measure.name);
            }
        }
        text
    }
}

fn row(measure: &Measure) -> Vec<String> {
    let limit = format!(
        "{} ({})",
        quantity(measure.limit.value, measure.unit),
        measure.limit.what
    );
    let mut row = vec![
        measure.name.to_owned(),
        quantity(measure.value, measure.unit),
        limit,
        format!("{:.2}", measure.ratio()),
        measure.target.text(),
        if measure.met() { "yes" } else { "NO" }.to_owned(),
    ];
    row.extend(columns(measure.load.as_ref()));
    row
}

fn peer_rows(measure: &Measure) -> Vec<Vec<String>> {
    let rows = measure.peers.iter().map(|(name, outcome)| {
        let mut row = vec![
            measure.name.to_owned(),
            (*name).to_owned(),
            quantity(outcome.rate, "/s"),
            format!("{:.1}", measure.value / outcome.rate),
        ];
        row.extend(columns(Some(outcome)));
        row
    });
    rows.collect()
}

/// p50, p99, CPU and RSS.
fn columns(load: Option<&Outcome>) -> [String; 4] {
    load.map_or_else(Default::default, |load| {
        [
            quantity(load.p50, "ms"),
            quantity(load.p99, "ms"),
            load.cpu_micros
                .map_or_else(String::new, |cpu| quantity(cpu, "us")),
            load.rss.map_or_else(String::new, |rss| quantity(rss, "MB")),
        ]
    })
}

/// Three figures or so; thousands are separated.
fn quantity(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && digit != '-' && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !rest.is_empty() {
        text.push('.');
        text.push_str(rest);
    }
    if !unit.starts_with('/') && !unit.is_empty() {
        text.push(' ');
    }
    text.push_str(unit);
    text
}

fn grid(text: &mut String, heads: &[&str], rows: Vec<Vec<String>>) {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.len()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut line = |cells: Vec<String>| {
        for (width, cell) in widths.iter().zip(cells) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
    };
    line(heads.iter().map(|head| (*head).to_owned()).collect());
    line(widths.iter().map(|width| "-".repeat(*width)).collect());
    for row in rows {
        line(row);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rate: f64) -> Outcome {
        Outcome {
            requests: 3000,
            rate,
            p50: 1.25,
            p99: 20.0,
            cpu_micros: Some(40.0),
            rss: Some(30.5),
            ..Outcome::default()
        }
    }

    fn table() -> Table {
        let mut fast = Measure::rate(
            "client-credentials",
            outcome(12_345.6),
            Limit::of("axum + signature", 15_000.0),
            Target::AtLeast(0.7),
        );
        fast.peers.push(("keycloak", outcome(1_000.0)));
        let large = Measure::new(
            "memory-idle",
            60.0,
            "MB",
            Limit::of("target", 40.0),
            Target::Below(1.0),
        );
        Table {
            about: vec![("machine", json!("a machine")), ("cores", json!(2))],
            limits: vec![("fsync".to_owned(), 2.5, "ms")],
            measures: vec![fast, large.note("with 3 connections")],
        }
    }

    #[test]
    fn every_measure_has_value_limit_ratio_and_target_in_json() {
        let json: Value = serde_json::from_str(&table().json().to_string()).unwrap();
        for (name, ratio, met) in [
            ("client-credentials", 0.823, true),
            ("memory-idle", 1.5, false),
        ] {
            let measure = &json["measures"][name];
            assert!(
                measure["value"].is_f64() && measure["limit"]["value"].is_f64(),
                "{measure}"
            );
            assert!(
                (measure["ratio"].as_f64().unwrap() - ratio).abs() < 0.001,
                "{measure}"
            );
            assert!(measure["target"].is_string(), "{measure}");
            assert_eq!(measure["met"], met, "{measure}");
        }
        let peer = &json["measures"]["client-credentials"]["peers"]["keycloak"];
        assert!(
            (peer["ratio"].as_f64().unwrap() - 12.345).abs() < 0.01,
            "{peer}"
        );
        assert_eq!(json["cores"], 2);
        assert_eq!(json["limits"]["fsync"]["unit"], "ms");
    }

    #[test]
    fn a_failure_fails_a_measure_whatever_its_ratio() {
        let measure = table()
            .measures
            .remove(0)
            .fail_if(true, "3 requests failed");
        assert!(!measure.met());
        let mut lossy = outcome(20_000.0);
        lossy.refused = 1;
        let measure = Measure::rate("x", lossy, Limit::of("target", 1.0), Target::AtLeast(1.0));
        assert!(!measure.met(), "{measure:?}");
    }

    #[test]
    fn the_table_has_one_row_a_measure_and_says_what_missed_its_target() {
        let text = table().text();
        let row = |name: &str| {
            let found = text
                .lines()
                .find(|line| line.starts_with(&format!("| {name} ")));
            found.unwrap_or_default().to_owned()
        };
        for part in [
            "12,346/s",
            "15,000/s (axum + signature)",
            "0.82",
            ">= 0.70",
            "yes",
            "1.25 ms",
            "20.0 ms",
            "40.0 us",
        ] {
            assert!(row("client-credentials").contains(part), "{part}: {text}");
        }
        assert!(row("memory-idle").contains("NO"), "{text}");
        assert!(text.contains("| keycloak | 1,000/s | 12.3 "), "{text}");
        assert!(text.contains("- memory-idle: with 3 connections"), "{text}");
    }
}
