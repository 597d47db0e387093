//! Curves of cost over connections and over message size. Both axes are logarithmic.

use std::fmt::Write;

use crate::{
    peers::Standing,
    plot::put_text,
    report::{Column, whole},
    scale::Curve,
};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 80.0;
/// The distance of two panels, which includes the names of the curves.
const STEP: f64 = LEFT + WIDTH + 180.0;

const COLOURS: [&str; 8] =
    ["#0369a1", "#15803d", "#7e22ce", "#a16207", "#be185d", "#0f766e", "#4b5563", "#6366f1"];

/// Returns a picture with a panel for each curve.
pub fn svg(curves: &[Curve], subtitle: &str) -> String {
    let (width, height) = (STEP * curves.len() as f64, TOP + HEIGHT + 60.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    put_text(
        &mut out,
        16,
        28,
        "font-size=\"18\" font-weight=\"600\" fill=\"#0f172a\"",
        "fullduplex at scale",
    );
    put_text(&mut out, 16, 46, "font-size=\"11\" fill=\"#475569\"", subtitle);
    for (at, curve) in curves.iter().enumerate() {
        put_panel(&mut out, curve, LEFT + at as f64 * STEP);
    }
    out.push_str("</svg>\n");
    out
}

/// Returns the position of a value between two others, on a logarithmic axis.
fn place(value: f64, (low, high): (f64, f64)) -> f64 {
    (value / low).ln() / (high / low).ln().max(f64::MIN_POSITIVE)
}

fn put_panel(out: &mut String, curve: &Curve, left: f64) {
    let section = &curve.section;
    let values =
        section.rows.iter().flat_map(|row| (0..section.columns.len()).filter_map(|at| row.median(at)));
    let (low, high) =
        values.fold((f64::INFINITY, 1.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let (Some(&first), Some(&last)) = (curve.across.first(), curve.across.last()) else { return };
    if !low.is_finite() {
        return;
    }
    let (across, up) = ((first, last), (decade_below(low), decade_above(high)));
    let title = format!("{}, {}", section.title, section.unit);
    put_text(out, left as usize, 70, "font-size=\"12\" font-weight=\"600\" fill=\"#0f172a\"", &title);
    put_axes(out, curve, left, across, up);
    let mut names = Vec::new();
    for (at, column) in section.columns.iter().enumerate() {
        let points: Vec<(f64, f64)> = section
            .rows
            .iter()
            .zip(&curve.across)
            .filter_map(|(row, &x)| Some((x, row.median(at)?)))
            .map(|(x, y)| (left + place(x, across) * WIDTH, TOP + (1.0 - place(y, up)) * HEIGHT))
            .collect();
        put_line(out, &points, colour(at, column), column.standing);
        if let Some(&(_, y)) = points.last() {
            names.push((y, at));
        }
    }
    put_names(out, &section.columns, names, left + WIDTH + 8.0);
}

fn decade_below(value: f64) -> f64 {
    10_f64.powf(value.max(1.0).log10().floor())
}

fn decade_above(value: f64) -> f64 {
    10_f64.powf(value.max(10.0).log10().ceil())
}

fn colour(at: usize, column: &Column) -> &'static str {
    match column.standing {
        Standing::Ours if column.name == "fullduplex" => "#c2410c",
        Standing::Ours => "#fb923c",
        Standing::Peer => COLOURS[at % COLOURS.len()],
        Standing::Baseline | Standing::Apart => "#94a3b8",
    }
}

fn put_axes(out: &mut String, curve: &Curve, left: f64, across: (f64, f64), up: (f64, f64)) {
    let (bottom, right) = (TOP + HEIGHT, left + WIDTH);
    let small = "font-size=\"9.5\" fill=\"#475569\"";
    let mut level = up.0;
    while level <= up.1 * 1.001 {
        let y = TOP + (1.0 - place(level, up)) * HEIGHT;
        let _ = writeln!(out, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#e2e8f0\"/>");
        put_text(out, (left - 56.0) as usize, (y + 3.0) as usize, small, &whole(level as usize));
        level *= 10.0;
    }
    for &value in &curve.across {
        let x = left + place(value, across) * WIDTH;
        let _ = writeln!(out, "<path d=\"M{x:.1} {bottom}v5\" stroke=\"#64748b\"/>");
        put_text(out, (x - 8.0) as usize, (bottom + 17.0) as usize, small, &whole(value as usize));
    }
    put_text(out, left as usize, (bottom + 36.0) as usize, "font-size=\"11\" fill=\"#0f172a\"", curve.axis);
}

fn put_line(out: &mut String, points: &[(f64, f64)], colour: &str, standing: Standing) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let width = if standing == Standing::Ours { 2.5 } else { 1.2 };
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
        path.join(" ")
    );
}

/// Writes the names beside the ends of the lines, moved down if they would overlap.
fn put_names(out: &mut String, columns: &[Column], mut names: Vec<(f64, usize)>, x: f64) {
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = 0.0_f64;
    for (y, at) in names {
        let y = y.max(free);
        free = y + 12.0;
        let style = format!("font-size=\"10.5\" fill=\"{}\"", colour(at, &columns[at]));
        put_text(out, x as usize, (y + 3.0) as usize, &style, &columns[at].name);
    }
}
