//! Plots as inline SVG: lines over a logarithmic or plain axis, and bars of two parts.
use std::fmt::Write as _;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 220.0;
/// Room for numbers and names.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 34.0;

/// One named line.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How the horizontal axis is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Plain,
    /// For numbers of connections.
    Logarithmic,
}

/// Colours that can be told apart on light and dark.
const COLOURS: [&str; 6] = [
    "#2a7de1", "#d9541e", "#2f9e5b", "#a04bc8", "#b58900", "#5f6b7a",
];

/// Lines from zero upwards.
pub(super) fn lines(title: &str, unit: &str, axis: Axis, series: &[Series]) -> String {
    let place = |x: f64| match axis {
        Axis::Plain => x,
        Axis::Logarithmic => x.max(1e-9).log2(),
    };
    let points = || series.iter().flat_map(|series| &series.points);
    let lowest = points().map(|(x, _)| place(*x)).fold(f64::MAX, f64::min);
    let highest = points().map(|(x, _)| place(*x)).fold(f64::MIN, f64::max);
    let top = points().map(|(_, y)| *y).fold(0.0, f64::max).max(1e-9);
    let span = (highest - lowest).max(1e-9);
    let x_of = |x: f64| LEFT + (place(x) - lowest) / span * (WIDTH - LEFT - RIGHT);
    let y_of = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = frame(title, HEIGHT);
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let y = y_of(value);
        let end = WIDTH - RIGHT;
        add(
            &mut svg,
            format_args!("<path class='grid' d='M{LEFT} {y:.1}H{end}'/>"),
        );
        let (x, y) = (LEFT - 4.0, y + 4.0);
        let value = number(value);
        add(
            &mut svg,
            format_args!("<text class='right' x='{x}' y='{y:.1}'>{value}</text>"),
        );
    }
    let mut marks: Vec<f64> = points().map(|(x, _)| *x).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let every = marks.len().div_ceil(6).max(1);
    for mark in marks.iter().step_by(every) {
        let (x, y) = (x_of(*mark), HEIGHT - BOTTOM + 14.0);
        let mark = number(*mark);
        add(
            &mut svg,
            format_args!("<text class='mid' x='{x:.1}' y='{y}'>{mark}</text>"),
        );
    }
    for (number, series) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let mut path = String::new();
        for (index, (x, y)) in series.points.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let (x, y) = (x_of(*x), y_of(*y));
            add(&mut path, format_args!("{letter}{x:.1} {y:.1}"));
        }
        add(
            &mut svg,
            format_args!("<path class='line' stroke='{colour}' d='{path}'/>"),
        );
        let (x, y) = (LEFT + 96.0 * number as f64, HEIGHT - 4.0);
        let name = escaped(&series.name);
        add(
            &mut svg,
            format_args!("<text fill='{colour}' x='{x:.1}' y='{y}'>{name}</text>"),
        );
    }
    add(
        &mut svg,
        format_args!(
            "<text x='4' y='{}'>{}</text></svg>",
            TOP - 10.0,
            escaped(unit)
        ),
    );
    svg
}

/// One bar a name: the first part dark, the second one light behind it.
pub(super) fn bars(title: &str, unit: &str, rows: &[(String, f64, f64)]) -> String {
    const ROW: f64 = 18.0;
    const NAMES: f64 = 130.0;
    let height = TOP + ROW * rows.len() as f64 + 10.0;
    let most = rows.iter().map(|(_, one, two)| one + two);
    let most = most.fold(1e-9, f64::max);
    let scale = (WIDTH - NAMES - 70.0) / most;
    let mut svg = frame(title, height);
    for (number_of_row, (name, one, two)) in rows.iter().enumerate() {
        let y = TOP + ROW * number_of_row as f64;
        let (first, second) = (one * scale, two * scale);
        let (name, text_y) = (escaped(name), y + 12.0);
        let (behind, end) = (NAMES + first, NAMES + first + second + 4.0);
        add(
            &mut svg,
            format_args!("<text x='4' y='{text_y:.1}'>{name}</text>"),
        );
        add(
            &mut svg,
            format_args!(
                "<rect fill='{}' x='{NAMES}' y='{y:.1}' width='{first:.1}' height='13'/>\
                 <rect fill='{}' opacity='.45' x='{behind:.1}' y='{y:.1}' width='{second:.1}' \
                 height='13'/><text x='{end:.1}' y='{text_y:.1}'>{} + {}</text>",
                COLOURS[0],
                COLOURS[0],
                number(*one),
                number(*two)
            ),
        );
    }
    add(
        &mut svg,
        format_args!(
            "<text x='{NAMES}' y='{}'>{}</text></svg>",
            TOP - 8.0,
            escaped(unit)
        ),
    );
    svg
}

fn frame(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg viewBox='0 0 {WIDTH} {height:.0}' role='img' aria-label='{title}'>\
         <title>{title}</title><text class='title' x='{WIDTH}' y='12'>{title}</text>"
    )
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes everything");
}

/// Short: three digits and a thousand as k.
fn number(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
        value if value >= 1_000.0 => format!("{:.1}k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let series = [Series {
            name: "a<b".to_owned(),
            points: vec![(1.0, 0.0), (16.0, 50.0), (256.0, 100.0)],
        }];
        let svg = lines("rates", "op/s", Axis::Logarithmic, &series);
        // 16 is half way between 1 and 256.
        let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
        assert!(
            svg.contains(&format!("M{LEFT:.1} {:.1}", HEIGHT - BOTTOM)),
            "{svg}"
        );
        assert!(svg.contains(&format!("L{middle:.1} ")), "{svg}");
        assert!(
            svg.contains(&format!("L{:.1} {TOP:.1}", WIDTH - RIGHT)),
            "{svg}"
        );
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>"));
    }

    #[test]
    fn numbers_are_short() {
        let short: Vec<String> = [0.0, 0.123, 1.26, 45.6, 1_234.0, 45_678.0]
            .map(number)
            .to_vec();
        assert_eq!(short, ["0", "0.12", "1.3", "46", "1.2k", "46k"]);
    }
}
