//! How far each node had applied the log, and how far that was behind the furthest.
use std::collections::BTreeMap;

use super::plot::Plot;
use super::rates::{node_class, ticks};
use super::scale::{Linear, ms};
use super::view::View;

const APPLIED_HEIGHT: u32 = 110;
const BEHIND_HEIGHT: u32 = 80;
/// Points of one node's curve, at most; of neighbours the greatest is kept.
const POINTS_MAX: usize = 500;

/// What a node was sampled at: when, and the value; `None` where it did not answer.
type Curve = Vec<(u64, Option<u64>)>;

/// Both charts; none when no node ever answered.
pub(super) fn all(view: &View<'_>) -> Vec<Plot> {
    let (applied, behind) = curves(view);
    if applied.values().flatten().all(|(_, index)| index.is_none()) {
        return Vec::new();
    }
    let names = view.nodes();
    vec![
        Plot {
            id: "applied",
            title: "Applied index",
            note: "how far each node had applied the log; broken where it did not answer".into(),
            ..plot(&names, &applied, APPLIED_HEIGHT)
        },
        Plot {
            id: "behind",
            title: "Entries behind",
            note: "the furthest node any has been seen at".into(),
            ..plot(&names, &behind, BEHIND_HEIGHT)
        },
    ]
}

fn curves<'a>(view: &View<'a>) -> (BTreeMap<&'a str, Curve>, BTreeMap<&'a str, Curve>) {
    let mut samples: Vec<_> = view.evidence.samples.iter().collect();
    samples.sort_by_key(|sample| sample.time_ns);
    let (mut applied, mut behind) = (BTreeMap::new(), BTreeMap::new());
    let mut furthest = 0;
    for sample in samples {
        let index = sample.status.as_ref().map(|status| status.applied_index);
        furthest = furthest.max(index.unwrap_or(0));
        let note = |curves: &mut BTreeMap<&'a str, Curve>, value| {
            let curve = curves.entry(sample.node.as_str()).or_default();
            curve.push((sample.time_ns, value));
        };
        note(&mut applied, index);
        note(&mut behind, index.map(|index| furthest - index));
    }
    (applied, behind)
}

fn plot(names: &[&str], curves: &BTreeMap<&str, Curve>, height: u32) -> Plot {
    let values = curves.values().flatten().filter_map(|&(_, value)| value);
    let scale = Linear::new(values.max().unwrap_or(0) as f64, height);
    let marks = names.iter().enumerate().filter_map(|(number, name)| {
        let path = path(curves.get(name)?, scale);
        let class = node_class(number);
        Some(format!("<path class=\"line {class}\" d=\"{path}\"/>"))
    });
    let legend = names.iter().enumerate();
    let legend =
        legend.map(|(number, name)| (format!("line {}", node_class(number)), (*name).to_owned()));
    Plot {
        id: "",
        title: "",
        note: String::new(),
        height,
        legend: legend.collect(),
        ticks: ticks(scale),
        marks: marks.collect(),
    }
}

fn path(curve: &[(u64, Option<u64>)], scale: Linear) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for points in curve.chunks(curve.len().div_ceil(POINTS_MAX).max(1)) {
        let greatest = points
            .iter()
            .filter_map(|&(time_ns, value)| Some((value?, time_ns)))
            .max();
        let Some((value, time_ns)) = greatest else {
            is_drawing = false;
            continue;
        };
        let letter = if is_drawing { 'L' } else { 'M' };
        path.push_str(&format!(
            "{letter}{} {:.1}",
            ms(time_ns),
            scale.y(value as f64)
        ));
        is_drawing = true;
    }
    path
}
