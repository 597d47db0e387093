//! The tables as a picture in SVG: a panel of bars for each row that is plotted.

use std::fmt::Write;

use crate::{
    peers::Standing,
    report::{Better, Column, Row, Section, figure},
};

const ACROSS: usize = 3;
const PANEL: usize = 320;
const LABEL: usize = 150;
const BAR: usize = 110;
const LINE: usize = 18;
const HEAD: usize = 46;

/// Bars are cut at this many times the best peer: otherwise, the slowest would make all others
/// alike.
const CUT: f64 = 4.0;

const OURS: &str = "#c2410c";
const PEER: &str = "#64748b";
const BASELINE: &str = "#cbd5e1";

/// Returns a picture of all panels, in rows of three.
pub fn svg(sections: &[Section], subtitle: &str) -> String {
    let panels: Vec<(&Section, &Row)> = sections
        .iter()
        .flat_map(|section| section.rows.iter().map(move |row| (section, row)))
        .filter(|(section, row)| {
            row.plotted
                && row.better == Better::Lower
                && (0..section.columns.len()).any(|at| row.median(at).is_some())
        })
        .collect();
    let most = panels.iter().map(|(section, _)| section.columns.len()).max().unwrap_or(0);
    let tall = HEAD + most * LINE + 14;
    let (width, height) = (ACROSS * PANEL + 20, panels.len().div_ceil(ACROSS) * tall + 60);
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
        "fullduplex and its peers",
    );
    let legend = format!("{subtitle}; shorter bars are better; » cut at {CUT} times the best peer");
    put_text(&mut out, 16, 46, "font-size=\"11\" fill=\"#475569\"", &legend);
    for (at, (section, row)) in panels.iter().enumerate() {
        put_panel(&mut out, section, row, 16 + at % ACROSS * PANEL, 60 + at / ACROSS * tall);
    }
    out.push_str("</svg>\n");
    out
}

fn put_panel(out: &mut String, section: &Section, row: &Row, x: usize, y: usize) {
    // If the rows have units of their own, the label is the unit.
    let unit = if section.unit.starts_with("as ") { "" } else { section.unit };
    let under = if unit.is_empty() { row.label.clone() } else { format!("{}; {unit}", row.label) };
    put_text(out, x, y + 16, "font-size=\"12\" font-weight=\"600\" fill=\"#0f172a\"", &section.title);
    put_text(out, x, y + 31, "font-size=\"10\" fill=\"#475569\"", &under);
    let longest = (0..section.columns.len()).filter_map(|at| row.median(at)).fold(0.0, f64::max);
    let full = section.best_peer(row).map_or(longest, |best| longest.min(CUT * best));
    let mut line = y + HEAD;
    for (at, column) in section.columns.iter().enumerate() {
        let Some(value) = row.median(at) else { continue };
        put_bar(out, column, value, full, (x, line));
        line += LINE;
    }
}

fn put_bar(out: &mut String, column: &Column, value: f64, full: f64, (x, y): (usize, usize)) {
    let (colour, weight) = match column.standing {
        Standing::Ours => (OURS, "600"),
        Standing::Peer => (PEER, "400"),
        Standing::Baseline | Standing::Apart => (BASELINE, "400"),
    };
    let style = format!("font-size=\"10.5\" fill=\"#0f172a\" font-weight=\"{weight}\"");
    put_text(out, x, y + 10, &style, &column.name);
    let length = (value / full.max(f64::MIN_POSITIVE)).min(1.0) * BAR as f64;
    let bar = x + LABEL;
    let _ = writeln!(
        out,
        "<rect x=\"{bar}\" y=\"{y}\" width=\"{:.1}\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>",
        length.max(1.0)
    );
    let told = if value > full { format!("» {}", figure(value)) } else { figure(value) };
    put_text(out, bar + length as usize + 5, y + 10, "font-size=\"10\" fill=\"#475569\"", &told);
}

pub fn put_text(out: &mut String, x: usize, y: usize, style: &str, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" {style}>{escaped}</text>");
}
