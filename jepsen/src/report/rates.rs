//! How many operations ended each second: by what came of them, and by the node that was asked.
use checkers::history::Outcome;

use super::operations::Operation;
use super::plot::Plot;
use super::scale::{Linear, ms};
use super::view::View;

const HEIGHT: u32 = 120;
/// Pieces of time, at most.
const PIECES: u64 = 600;

/// Counts by piece of time.
pub(super) struct Pieces {
    pub(super) length_ns: u64,
    pub(super) counts: Vec<u64>,
}

impl Pieces {
    fn of<'a>(operations: impl Iterator<Item = &'a Operation<'a>>, end_ns: u64) -> Self {
        let length_ns = (end_ns / PIECES).next_multiple_of(1_000_000_000);
        let length_ns = length_ns.max(1_000_000_000);
        let count = usize::try_from(end_ns / length_ns + 1).expect("as few as there are pieces");
        let mut counts = vec![0; count];
        for operation in operations {
            let ended = operation.ended_ns.unwrap_or(operation.invoked_ns);
            let piece = usize::try_from(ended / length_ns).unwrap_or(usize::MAX);
            if let Some(count) = counts.get_mut(piece) {
                *count += 1;
            }
        }
        Self { length_ns, counts }
    }

    /// Operations per second in this piece.
    fn rate(&self, piece: usize) -> f64 {
        self.counts[piece] as f64 * 1e9 / self.length_ns as f64
    }
}

/// Counts by outcome: ok, failed, unknown.
pub(super) fn outcomes(view: &View<'_>) -> [Pieces; 3] {
    [Outcome::Ok, Outcome::Fail, Outcome::Unknown].map(|outcome| {
        let some = view.operations.iter();
        Pieces::of(some.filter(|one| one.outcome == outcome), view.end_ns)
    })
}

/// Draws what came of operations, one upon the other.
pub(super) fn by_outcome(view: &View<'_>) -> Plot {
    let layers = outcomes(view);
    let count = layers[0].counts.len();
    let total = |piece: usize| layers.iter().map(|layer| layer.rate(piece)).sum::<f64>();
    let scale = Linear::new((0..count).map(total).fold(0.0, f64::max), HEIGHT);
    let mut below = vec![0.0; count];
    let mut marks = String::new();
    for (layer, class) in layers.iter().zip(["ok", "fail", "unknown"]) {
        let above: Vec<f64> = (0..count).map(|n| below[n] + layer.rate(n)).collect();
        let path = area(&below, &above, layer.length_ns, scale, view.end_ns);
        marks.push_str(&format!("<path class=\"area {class}\" d=\"{path}\"/>"));
        below = above;
    }
    Plot {
        id: "rate",
        title: "Operations per second",
        note: "by what came of them".into(),
        height: HEIGHT,
        legend: [
            ("ok", "ok"),
            ("fail", "failed"),
            ("unknown", "outcome unknown"),
        ]
        .map(|(class, name)| (class.to_owned(), name.to_owned()))
        .to_vec(),
        ticks: ticks(scale),
        marks,
    }
}

/// The space between two lines of steps.
fn area(below: &[f64], above: &[f64], length_ns: u64, scale: Linear, end_ns: u64) -> String {
    if above.iter().zip(below).all(|(above, below)| above <= below) {
        return String::new();
    }
    let edge = |piece: usize| ms((piece as u64 * length_ns).min(end_ns));
    let mut path = format!("M0 {:.1}", scale.y(below.first().copied().unwrap_or(0.0)));
    for (piece, value) in above.iter().enumerate() {
        path.push_str(&format!("V{:.1}H{}", scale.y(*value), edge(piece + 1)));
    }
    for (piece, value) in below.iter().enumerate().rev() {
        path.push_str(&format!("V{:.1}H{}", scale.y(*value), edge(piece)));
    }
    path.push('Z');
    path
}

/// Draws how many operations succeeded at each node.
pub(super) fn by_node(view: &View<'_>) -> Plot {
    let mut names = view.nodes();
    for operation in &view.operations {
        if !names.contains(&operation.node) {
            names.push(operation.node);
        }
    }
    let lines: Vec<(usize, &str, Pieces)> = names
        .into_iter()
        .enumerate()
        .map(|(number, name)| {
            let some = view.operations.iter();
            let some = some.filter(|one| one.node == name && one.outcome == Outcome::Ok);
            (number, name, Pieces::of(some, view.end_ns))
        })
        .collect();
    let rates = lines
        .iter()
        .flat_map(|(_, _, pieces)| (0..pieces.counts.len()).map(|n| pieces.rate(n)));
    let scale = Linear::new(rates.fold(0.0, f64::max), HEIGHT);
    let marks = lines.iter().map(|(number, _, pieces)| {
        let points = (0..pieces.counts.len()).map(|piece| {
            let x = ms((piece as u64 * pieces.length_ns + pieces.length_ns / 2).min(view.end_ns));
            format!("{x} {:.1}", scale.y(pieces.rate(piece)))
        });
        let points = points.collect::<Vec<_>>().join("L");
        format!(
            "<path class=\"line {}\" d=\"M{points}\"/>",
            node_class(*number)
        )
    });
    Plot {
        id: "nodes-rate",
        title: "Successes per second",
        note: "by the node that was asked".into(),
        height: HEIGHT,
        legend: lines
            .iter()
            .map(|(number, name, _)| (format!("line {}", node_class(*number)), (*name).to_owned()))
            .collect(),
        ticks: ticks(scale),
        marks: marks.collect(),
    }
}

/// Names the style of a node's lines; after the eighth they begin anew.
pub(super) fn node_class(number: usize) -> String {
    format!("n{}", number % 8)
}

/// Labels of a scale of counts.
pub(super) fn ticks(scale: Linear) -> Vec<(f64, String)> {
    let label = |tick: f64| (scale.y(tick), short(tick));
    scale.ticks().into_iter().map(label).collect()
}

/// Thousands as `k`, so that the label stays short.
fn short(number: f64) -> String {
    if number >= 10_000.0 {
        format!("{} k", number / 1_000.0)
    } else {
        format!("{number}")
    }
}
