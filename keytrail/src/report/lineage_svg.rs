//! Draws the lineage of a finding as inline SVG: boxes in columns, lines between them, names in full as tooltips.

use keytrail_model::Hop;

use super::charts::round;
use super::escape::Html;
use super::lineage_layout::{Edge, Layout, Line, Node};
use super::written::short;

const BOX: (f64, f64) = (166.0, 44.0);
const GAP: (f64, f64) = (64.0, 16.0);
const EDGE: f64 = 8.0;
/// Characters that fit into a box and above a line.
const LABEL: usize = 20;
const WORD: usize = 10;
/// Smaller than this the names cannot be read; then the picture scrolls.
const SMALLEST: f64 = 0.8;

pub(super) fn picture(html: &mut Html, hops: &[Hop]) {
    if hops.is_empty() {
        return;
    }
    let layout = Layout::new(hops);
    let width = 2.0 * EDGE + layout.columns as f64 * (BOX.0 + GAP.0) - GAP.0;
    let height = 2.0 * EDGE + layout.rows as f64 * (BOX.1 + GAP.1) - GAP.1;
    html.put(
        "<figure class=\"lineage\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Lineage\">",
        &[],
    );
    html.put(
        "<svg viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" style=\"min-width:{}px\" \
         role=\"img\" aria-label=\"{}\">",
        &[&width, &height, &width, &height, &(width * SMALLEST).round(), &sentence(hops)],
    );
    layout.edges.iter().for_each(|edge| line(html, &layout, edge));
    layout.nodes.iter().filter(|node| node.column < layout.columns).for_each(|node| self::node(html, &layout, node));
    layout.edges.iter().for_each(|edge| words(html, &layout, edge));
    html.put("</svg></div></figure>", &[]);
}

/// What the picture shows, for those who hear the page.
fn sentence(hops: &[Hop]) -> String {
    let said = hops.iter().take(12).map(|hop| format!("{} {} {}", hop.from, hop.edge, hop.to));
    said.collect::<Vec<_>>().join("; ")
}

/// Left top corner. A column with few boxes stands in the middle.
fn corner(layout: &Layout, node: &Node) -> (f64, f64) {
    let used = layout.nodes.iter().filter(|other| other.column == node.column).count();
    let free = layout.rows.saturating_sub(used) as f64 * (BOX.1 + GAP.1) / 2.0;
    let x = EDGE + node.column as f64 * (BOX.0 + GAP.0);
    (x, round(EDGE + free + node.row as f64 * (BOX.1 + GAP.1)))
}

fn node(html: &mut Html, layout: &Layout, node: &Node) {
    let (x, y) = corner(layout, node);
    html.put("<g class=\"node {}\"><title>{}: {}</title>", &[&node.kind, &node.kind, &node.label]);
    html.put("<rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"7\"/>", &[&x, &y, &BOX.0, &BOX.1]);
    html.put(
        "<rect class=\"mark\" x=\"{}\" y=\"{}\" width=\"4\" height=\"{}\" rx=\"2\"/>",
        &[&(x + 6.0), &(y + 8.0), &(BOX.1 - 16.0)],
    );
    html.put("<text class=\"kind\" x=\"{}\" y=\"{}\">{}</text>", &[&(x + 17.0), &(y + 17.0), &node.kind]);
    html.put(
        "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text></g>",
        &[&(x + 17.0), &(y + 33.0), &short(&node.label, LABEL)],
    );
}

/// Where a line starts and ends.
fn ends(layout: &Layout, edge: &Edge) -> Option<((f64, f64), (f64, f64))> {
    let from = corner(layout, layout.nodes.get(edge.from)?);
    let to = corner(layout, layout.nodes.get(edge.to)?);
    Some(((from.0 + BOX.0, from.1 + BOX.1 / 2.0), (to.0, to.1 + BOX.1 / 2.0)))
}

fn line(html: &mut Html, layout: &Layout, edge: &Edge) {
    let Some(((x1, y1), (x2, y2))) = ends(layout, edge) else { return };
    let class = match edge.line {
        Line::Declared => "edge declared",
        Line::Observed => "edge",
        Line::Denied => "edge denied",
    };
    let (bend, tip) = (GAP.0 * 0.6, x2 - 7.0);
    html.put(
        "<g class=\"{}\"><path d=\"M{} {} C{} {} {} {} {} {}\"/>",
        &[&class, &x1, &y1, &(x1 + bend), &y1, &(tip - bend), &y2, &tip, &y2],
    );
    html.put("<polygon points=\"{},{} {},{} {},{}\"/></g>", &[&x2, &y2, &tip, &(y2 - 4.0), &tip, &(y2 + 4.0)]);
}

/// The word stands in the gap before the box that the line leads to, where no box is in its way.
fn words(html: &mut Html, layout: &Layout, edge: &Edge) {
    let Some(((x1, y1), (x2, y2))) = ends(layout, edge) else { return };
    let skips = x2 - x1 > GAP.0 + 1.0;
    let y = if skips { y2 } else { f64::midpoint(y1, y2) };
    let class = if edge.line == Line::Denied { "word denied" } else { "word" };
    html.put(
        "<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"middle\"><title>{}</title>{}</text>",
        &[&class, &round(x2 - GAP.0 / 2.0 - 2.0), &round(y - 6.0), &edge.words.join(", "), &label(edge)],
    );
}

/// The first word, the one that makes a line red before others, and how many there are besides.
fn label(edge: &Edge) -> String {
    let red = edge.words.iter().find(|word| matches!(word.as_str(), "denied" | "breaks"));
    let Some(word) = red.or(edge.words.first()) else { return String::new() };
    match edge.words.len() - 1 {
        0 => short(word, WORD),
        more => format!("{} +{more}", short(word, WORD - 3)),
    }
}
