//! The samples of a run as a picture in SVG: memory and latency over time.

use std::fmt::Write;

use crate::{
    measure::{ABUSE, Results, Sample},
    report::whole,
};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 70.0;
/// The distance of two panels.
const STEP: f64 = HEIGHT + 80.0;

const LINES: [&str; 2] = ["#c2410c", "#0369a1"];

/// A panel: its title, and its lines with their names.
struct Panel {
    title: &'static str,
    lines: Vec<(&'static str, Vec<f64>)>,
}

/// Returns the picture.
pub fn svg(results: &Results) -> String {
    let samples = &results.samples;
    let of = |value: fn(&Sample) -> f64| samples.iter().map(value).collect();
    let panels = [
        Panel {
            title: "Memory of the server, MB resident",
            lines: vec![("resident", of(|sample| sample.resident as f64 / 1e6))],
        },
        Panel {
            title: "Latency of honest clients, µs",
            lines: vec![
                ("p99", of(|sample| sample.p99.as_secs_f64() * 1e6)),
                ("p50", of(|sample| sample.p50.as_secs_f64() * 1e6)),
            ],
        },
        Panel { title: "Open connections", lines: vec![("open", of(|sample| sample.open as f64))] },
    ];
    let (width, height) = (LEFT + WIDTH + 80.0, TOP + STEP * panels.len() as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    put_text(&mut out, 16.0, 28.0, "font-size=\"18\" font-weight=\"600\"", "Abuse beside honest load");
    let end = samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
    for (at, panel) in panels.iter().enumerate() {
        put_panel(&mut out, panel, samples, end, TOP + at as f64 * STEP);
    }
    out.push_str("</svg>\n");
    out
}

fn put_panel(out: &mut String, panel: &Panel, samples: &[Sample], end: f64, top: f64) {
    let values = panel.lines.iter().flat_map(|(_, values)| values);
    let high = ceiling(values.fold(1.0_f64, |high, value| high.max(*value)));
    let x = |at: f64| LEFT + at / end * WIDTH;
    let y = |value: f64| top + (1.0 - value / high) * HEIGHT;
    put_text(out, LEFT, top - 10.0, "font-size=\"12\" font-weight=\"600\"", panel.title);
    let abuse =
        || samples.iter().filter(|sample| sample.phase == ABUSE).map(|sample| x(sample.at.as_secs_f64()));
    if let (Some(from), Some(to)) = (abuse().next(), abuse().next_back()) {
        let _ = writeln!(
            out,
            "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#fef2f2\"/>",
            to - from
        );
        put_text(out, from + 4.0, top + 12.0, "font-size=\"9.5\"", ABUSE);
    }
    for part in 0..=4 {
        let value = high * f64::from(part) / 4.0;
        let line = y(value);
        let _ = writeln!(out, "<path d=\"M{LEFT} {line:.1}H{}\" stroke=\"#e2e8f0\"/>", LEFT + WIDTH);
        put_text(out, 16.0, line + 3.0, "font-size=\"9.5\"", &whole(value.round() as u64));
    }
    let (unit, seconds) = if end > 600.0 { ("min", 60.0) } else { ("s", 1.0) };
    for part in 0..=6 {
        let at = end * f64::from(part) / 6.0;
        let text = format!("{:.0} {unit}", at / seconds);
        put_text(out, x(at) - 10.0, top + HEIGHT + 16.0, "font-size=\"9.5\"", &text);
    }
    for ((name, values), colour) in panel.lines.iter().zip(LINES) {
        let points: Vec<String> = samples
            .iter()
            .zip(values)
            .map(|(sample, value)| format!("{:.1},{:.1}", x(sample.at.as_secs_f64()), y(*value)))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\"/>",
            points.join(" ")
        );
        let last = values.last().copied().unwrap_or_default();
        put_text(
            out,
            LEFT + WIDTH + 6.0,
            y(last) + 3.0,
            &format!("font-size=\"10.5\" fill=\"{colour}\""),
            name,
        );
    }
}

/// Returns 1, 2 or 5 times a power of ten that is not below a value.
fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= value);
    factor.unwrap_or(10.0) * power
}

fn put_text(out: &mut String, x: f64, y: f64, style: &str, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{escaped}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_little_above_the_highest_value() {
        assert_eq!([1.0, 1.5, 3.0, 7.0, 40.0].map(ceiling), [1.0, 2.0, 5.0, 10.0, 50.0]);
    }
}
