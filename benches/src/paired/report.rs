//! Results: collected, as a table of medians, and as JSON with every single one.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::target::Target;

/// In which direction a number is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

/// What is measured in one row of the table.
#[derive(Clone)]
struct Row {
    unit: &'static str,
    better: Better,
    values: BTreeMap<String, Vec<f64>>,
}

/// All results of a run.
pub(super) struct Report {
    targets: Vec<String>,
    order: Vec<String>,
    rows: BTreeMap<String, Row>,
    faults: Vec<String>,
    lacking: Vec<String>,
}

impl Report {
    pub(super) fn new(targets: &[Target]) -> Self {
        Self {
            targets: targets.iter().map(|target| target.name.clone()).collect(),
            order: Vec::new(),
            rows: BTreeMap::new(),
            faults: Vec::new(),
            lacking: Vec::new(),
        }
    }

    /// One measurement.
    pub(super) fn add(
        &mut self,
        target: &Target,
        case: &str,
        unit: &'static str,
        better: Better,
        value: f64,
    ) {
        if !self.rows.contains_key(case) {
            self.order.push(case.to_owned());
            self.rows.insert(
                case.to_owned(),
                Row {
                    unit,
                    better,
                    values: BTreeMap::new(),
                },
            );
        }
        if let Some(row) = self.rows.get_mut(case) {
            row.values.entry(target.name.clone()).or_default().push(value);
        }
        eprintln!("{:<24} {case}: {value:.3} {unit}", target.name);
    }

    /// Servers gave different answers to the same question.
    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A server cannot do a case.
    pub(super) fn lacks(&mut self, target: &Target, case: &str, why: &str) {
        self.lacking.push(format!("{}: {case}: {why}", target.name));
    }

    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Medians in Markdown; with several servers, the last beside the best of the others.
    pub(super) fn table(&self) -> String {
        let compared = self.targets.len() > 1;
        let ratio = self
            .targets
            .last()
            .filter(|_| compared)
            .map(|last| format!(" {last} : best other |"));
        let mut text = format!(
            "| case | unit | {} |{}\n|---|---|",
            self.targets.join(" | "),
            ratio.as_deref().unwrap_or("")
        );
        text.push_str(&"---:|".repeat(self.targets.len() + usize::from(compared)));
        for case in &self.order {
            let Some(row) = self.rows.get(case) else { continue };
            text.push_str(&format!("\n| {case} | {} |", row.unit));
            let medians: Vec<Option<f64>> = self
                .targets
                .iter()
                .map(|name| median(row.values.get(name)?))
                .collect();
            for median in &medians {
                text.push_str(&median.map_or(" – |".to_owned(), |value| format!(" {} |", shown(value))));
            }
            if let Some((Some(last), others)) = medians.split_last().filter(|_| compared) {
                let others = others.iter().copied().flatten();
                let times = match row.better {
                    Better::Higher => others.reduce(f64::max).map(|best| ratio_of(*last, best)),
                    Better::Lower => others.reduce(f64::min).map(|best| ratio_of(best, *last)),
                };
                text.push_str(&format!(" {} |", times.unwrap_or_else(|| "–".to_owned())));
            } else if compared {
                text.push_str(" – |");
            }
        }
        for lack in &self.lacking {
            text.push_str(&format!("\n\n{lack}"));
        }
        text
    }

    /// Every measurement.
    pub(super) fn json(&self) -> String {
        let rows = self.order.iter().filter_map(|case| {
            let row = self.rows.get(case)?;
            Some(json!({"case": case, "unit": row.unit, "higher_is_better": row.better == Better::Higher, "values": row.values}))
        });
        let rows: Json = rows.collect();
        format!(
            "{:#}\n",
            json!({"targets": self.targets, "rows": rows, "faults": self.faults, "lacking": self.lacking})
        )
    }
}

/// How many times the one is the other; nothing that can be said of zero.
fn ratio_of(one: f64, other: f64) -> String {
    if one > 0.0 && other > 0.0 {
        format!("{:.2}×", one / other)
    } else {
        "–".to_owned()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0),
    }
}

fn shown(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[test]
fn the_middle_of_an_even_number_is_between_two() {
    assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(median(&[]), None);
}
