//! The frame that all charts over time share: labels to the left, the plot itself stretched to the
//! width there is, bands and marks behind, and one span of time for all, which the page can zoom.
//!
//! Inside a plot one unit is a millisecond across and a pixel down; lines and dots keep their width
//! however it is stretched. Text stands outside the drawing, so that it is never stretched.
use super::faults::Fault;
use super::scale::{ms, time_step_ms};
use super::text::{escape, moment};
use super::view::View;

/// Ticks on the time axis, at most.
const TIME_TICKS_MAX: u64 = 10;
/// Bands drawn behind the charts, at most; the lanes and the table hold the others.
const BANDS_MAX: usize = 2_000;

/// One chart over time.
pub(super) struct Plot {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What the reader needs to know to read it.
    pub(super) note: String,
    pub(super) height: u32,
    /// Style and name of what is drawn.
    pub(super) legend: Vec<(String, String)>,
    /// Distance from the upper edge, and what stands there.
    pub(super) ticks: Vec<(f64, String)>,
    /// Elements of the drawing.
    pub(super) marks: String,
}

impl Plot {
    pub(super) fn draw(&self, end_ns: u64) -> String {
        let (height, end) = (self.height, ms(end_ns));
        let mut grid = String::new();
        let mut labels = String::new();
        for (y, label) in &self.ticks {
            grid.push_str(&format!("<path class=\"grid\" d=\"M0 {y:.1}H{end}\"/>"));
            let label = escape(label);
            labels.push_str(&format!("<span style=\"top:{y:.1}px\">{label}</span>"));
        }
        format!(
            "<figure class=\"chart\" id=\"{id}\"><figcaption><b>{title}</b> <span class=\"note\">{note}</span>{legend}</figcaption>\n\
             <div class=\"row\"><div class=\"gutter\" style=\"height:{height}px\">{labels}</div>\
             <div class=\"field\" style=\"height:{height}px\">\
             <svg class=\"time\" viewBox=\"0 0 {end} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">\
             <use href=\"#bands\"/><use href=\"#ticks\"/>{grid}{marks}<use href=\"#events\"/></svg></div></div></figure>\n",
            id = self.id,
            title = escape(self.title),
            note = escape(&self.note),
            legend = legend(&self.legend),
            marks = self.marks,
        )
    }
}

/// What the colours mean.
pub(super) fn legend(entries: &[(String, String)]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let entries: String = entries
        .iter()
        .map(|(class, name)| {
            let name = escape(name);
            format!("<span><i class=\"key {class}\"></i>{name}</span>")
        })
        .collect();
    format!("<span class=\"legend\">{entries}</span>")
}

/// Where something stands in time, for elements outside a drawing.
pub(super) fn place(from_ns: u64, until_ns: u64) -> String {
    let (from, length) = (ms(from_ns), ms(until_ns.saturating_sub(from_ns)));
    format!("--t:{from};--d:{length}")
}

/// What all charts have behind and before them, defined once: bands of faults, phases, leader
/// changes, gaps.
pub(super) fn shared(view: &View<'_>) -> String {
    let bands: String = view
        .installed()
        .take(BANDS_MAX)
        .map(|fault| band(fault, view.end_ns))
        .collect();
    let (end, step) = time_step(view.end_ns);
    let ticks: String = (1..=end / step)
        .map(|n| format!("<path class=\"grid\" d=\"M{} 0V999\"/>", n * step))
        .collect();
    let phases = view
        .evidence
        .phases
        .iter()
        .filter(|phase| phase.from_ns > 0);
    let phases: String = phases
        .map(|phase| {
            let (x, name) = (ms(phase.from_ns), escape(&phase.name));
            format!(
                "<path class=\"phase-mark\" d=\"M{x} 0V999\"><title>{name} begins</title></path>"
            )
        })
        .collect();
    let reigns: String = view
        .reigns
        .iter()
        .map(|reign| {
            let (x, node, term) = (ms(reign.time_ns), escape(&reign.node), reign.term);
            format!("<path class=\"reign\" d=\"M{x} 0V999\"><title>{node} leads, term {term}</title></path>")
        })
        .collect();
    let gaps: String = view
        .gaps
        .iter()
        .map(|gap| {
            let (x, width) = (ms(gap.from_ns), ms(gap.length_ns()));
            format!("<rect class=\"gap\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"5\"/>")
        })
        .collect();
    format!(
        "<svg class=\"shared\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\
         <g id=\"bands\">{bands}</g><g id=\"ticks\">{ticks}</g>\
         <g id=\"events\">{phases}{reigns}{gaps}</g></defs></svg>\n"
    )
}

fn band(fault: &Fault<'_>, end_ns: u64) -> String {
    let from = ms(fault.from_ns);
    let width = ms(fault.until_ns(end_ns)).saturating_sub(from).max(1);
    format!(
        "<rect class=\"band {}\" id=\"band-{}\" x=\"{from}\" y=\"0\" width=\"{width}\" height=\"999\"/>",
        fault.family.class(),
        fault.id,
    )
}

fn time_step(end_ns: u64) -> (u64, u64) {
    let end = ms(end_ns);
    (end, time_step_ms(end, TIME_TICKS_MAX))
}

/// The time axis, with the phases of the run over it.
pub(super) fn axis(view: &View<'_>) -> String {
    let (end, step) = time_step(view.end_ns);
    let ticks: String = (0..=end / step)
        .map(|n| {
            let label = moment(n * step * 1_000_000);
            let label = label.strip_suffix(".0").unwrap_or(&label);
            format!("<span style=\"--t:{}\">{label}</span>", n * step)
        })
        .collect();
    let phases: String = view
        .evidence
        .phases
        .iter()
        .map(|phase| {
            let (style, name) = (place(phase.from_ns, phase.until_ns), escape(&phase.name));
            let (from, until) = (moment(phase.from_ns), moment(phase.until_ns));
            format!(
                "<span style=\"{style}\" title=\"{name}: {from} to {until}\"><b>{name}</b></span>"
            )
        })
        .collect();
    format!(
        "<div class=\"axis row\"><div class=\"gutter\"><button type=\"button\" id=\"whole\" hidden>whole run</button></div>\
         <div class=\"field\"><div class=\"phases\">{phases}</div>\
         <div class=\"times\" id=\"times\">{ticks}</div></div></div>\n"
    )
}
