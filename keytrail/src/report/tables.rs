//! The tables: by credential, by owner, static keys, the index of findings, and what was read.

use std::collections::BTreeMap;

use keytrail_model::Finding;

use super::escape::Html;
use super::page::View;
use super::written::{code, counted, credential, number, owners, range, short, time};
use super::{Report, StaticKey, charts};

const BARS: usize = 10;
const KEYS: usize = 20;
const ROWS: usize = 2_000;
const REJECTS: usize = 20;

pub(super) fn by_credential(html: &mut Html, view: &View) {
    html.put("<section aria-labelledby=\"by-credential\"><h2 id=\"by-credential\">By credential</h2>", &[]);
    bars(html, "Credential", &tally(view, |finding| credential(finding).to_owned()), true);
    html.put("</section>", &[]);
}

pub(super) fn by_owner(html: &mut Html, view: &View) {
    html.put("<section aria-labelledby=\"by-owner\"><h2 id=\"by-owner\">By owner</h2>", &[]);
    bars(html, "Owner", &tally(view, |finding| owners(finding.ownership.as_ref())), false);
    html.put("</section>", &[]);
}

type Tally = Vec<(String, [u64; 5])>;

/// Most findings first, then the graver ones, then by name.
fn tally(view: &View, name: impl Fn(&Finding) -> String) -> Tally {
    let mut counts: BTreeMap<String, [u64; 5]> = BTreeMap::new();
    for finding in &view.findings {
        if let Some(count) = counts.entry(name(finding)).or_default().get_mut(finding.severity as usize) {
            *count += 1;
        }
    }
    let mut rows: Tally = counts.into_iter().collect();
    rows.sort_by_key(|(_, counts)| {
        let gravest_first: Vec<u64> = counts.iter().rev().copied().collect();
        std::cmp::Reverse((counts.iter().sum::<u64>(), gravest_first))
    });
    rows
}

fn bars(html: &mut Html, what: &str, rows: &Tally, is_id: bool) {
    let most = rows.iter().map(|(_, counts)| counts.iter().sum::<u64>()).max().unwrap_or(1);
    html.put("<table class=\"bars\"><thead><tr><th scope=\"col\">{}</th>", &[&what]);
    html.put("<th scope=\"col\" colspan=\"2\">Findings</th></tr></thead><tbody>", &[]);
    for (name, counts) in rows.iter().take(BARS) {
        let total: u64 = counts.iter().sum();
        html.put("<tr><th scope=\"row\" title=\"{}\">", &[name]);
        if is_id {
            code(html, &short(name, 30));
        } else {
            html.text(name);
        }
        html.put("</th><td class=\"bar\"><span style=\"width:{}%\">", &[&(total * 100 / most.max(1))]);
        charts::severities(html, counts);
        html.put("</span></td><td class=\"n\">{}</td></tr>", &[&number(total)]);
    }
    html.put("</tbody></table>", &[]);
    more(html, rows.len(), BARS);
}

fn more(html: &mut Html, all: usize, shown: usize) {
    let rest = all.saturating_sub(shown) as u64;
    if rest > 0 {
        html.put("<p class=\"note\">and {} more</p>", &[&number(rest)]);
    }
}

pub(super) fn static_keys(html: &mut Html, keys: &[StaticKey]) {
    if keys.is_empty() {
        return;
    }
    html.put("<section aria-labelledby=\"keys\"><h2 id=\"keys\">Static keys in use</h2>", &[]);
    html.put(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"keys\">\
        <table class=\"rows\"><thead><tr>\
        <th scope=\"col\">Credential</th><th scope=\"col\">Used by</th><th scope=\"col\">Owner</th>\
        <th scope=\"col\">Seen</th><th scope=\"col\">From</th>\
        <th scope=\"col\" class=\"n\">Events</th></tr></thead><tbody>",
        &[],
    );
    for key in keys.iter().take(KEYS) {
        static_key(html, key);
    }
    html.put("</tbody></table></div>", &[]);
    more(html, keys.len(), KEYS);
    html.put("</section>\n", &[]);
}

fn static_key(html: &mut Html, key: &StaticKey) {
    let kind = key.kind.as_deref().unwrap_or("unknown kind").replace('_', " ");
    let actor = key.actor.as_deref().unwrap_or("unknown");
    html.put("<tr><th scope=\"row\"><code title=\"{}\">{}</code>", &[&key.credential, &short(&key.credential, 44)]);
    html.put("<small>{}</small></th><td><code title=\"{}\">{}</code>", &[&kind, &actor, &short(actor, 34)]);
    html.put("<small>{}</small></td>", &[&key.account.as_deref().unwrap_or_default()]);
    html.put("<td>{}</td><td class=\"when\">", &[&key.owner.as_deref().unwrap_or("no owner")]);
    time(html, key.first_seen);
    html.put("<br>", &[]);
    time(html, key.last_seen);
    html.put("</td><td><small>{}</small></td>", &[&listed(&key.ips, key.ip_count, 2)]);
    html.put("<td class=\"n\">{}</td></tr>", &[&number(key.events)]);
}

/// The first `show` of them and how many there are besides.
pub(super) fn listed(values: &[String], count: u64, show: usize) -> String {
    let mut text = values.iter().take(show).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = count.saturating_sub(values.len().min(show) as u64);
    if rest > 0 {
        text.push_str(&format!(" and {} more", number(rest)));
    }
    text
}

pub(super) fn index(html: &mut Html, view: &View) {
    html.put(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All findings\"><table class=\"rows index\">\
        <thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Finding</th><th scope=\"col\">Credential</th>\
        <th scope=\"col\">Owner</th><th scope=\"col\">First event</th><th scope=\"col\" class=\"n\">Events</th>\
        </tr></thead><tbody>",
        &[],
    );
    for finding in view.findings.iter().take(ROWS) {
        let severity = finding.severity;
        html.put("<tr class=\"of-{}\"><td><span class=\"chip {}\">{}</span></td>", &[&severity, &severity, &severity]);
        html.put("<th scope=\"row\"><a href=\"#{}\">{}</a></th>", &[&finding.id, &finding.title]);
        let id = credential(finding);
        html.put("<td><code title=\"{}\">{}</code></td>", &[&id, &short(id, 26)]);
        html.put("<td>{}</td><td class=\"when\">", &[&owners(finding.ownership.as_ref())]);
        time(html, finding.first_seen);
        html.put("</td><td class=\"n\">{}</td></tr>", &[&number(finding.count)]);
    }
    html.put("</tbody></table></div>", &[]);
    more(html, view.findings.len(), ROWS);
}

/// What was read, what could not be, and what nobody knows.
pub(super) fn reading(html: &mut Html, report: &Report) {
    html.put("<section aria-labelledby=\"read\"><h2 id=\"read\">What was read</h2>", &[]);
    html.put(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"read\">\
        <table class=\"rows\"><thead><tr>\
        <th scope=\"col\">Log source</th><th scope=\"col\" class=\"n\">Events</th>\
        <th scope=\"col\" class=\"n\">Rejects</th>\
        <th scope=\"col\" class=\"n\">Left aside</th></tr></thead><tbody>",
        &[],
    );
    for source in &report.sources {
        html.put("<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td>", &[&source.source, &number(source.events)]);
        html.put(
            "<td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            &[&number(source.rejects), &number(source.skipped)],
        );
    }
    html.put("</tbody></table></div>", &[]);
    if let Some(seen) = report.time_range {
        html.put("<p class=\"note\">Events of ", &[]);
        range(html, seen);
        html.put("</p>", &[]);
    }
    unread(html, report);
    html.put("</section>\n", &[]);
}

fn unread(html: &mut Html, report: &Report) {
    if !report.unknown_schemas.is_empty() {
        html.put("<h3>Of no known log source</h3><ul class=\"plain\">", &[]);
        for unknown in report.unknown_schemas.iter().take(REJECTS) {
            html.put(
                "<li>{}: {}, first at <code>{}</code></li>",
                &[&counted(unknown.records, "record"), &unknown.what, &unknown.example],
            );
        }
        html.put("</ul>", &[]);
        more(html, report.unknown_schemas.len(), REJECTS);
    }
    if !report.rejects.is_empty() {
        html.put("<h3>Rejects</h3><ul class=\"plain\">", &[]);
        for reject in report.rejects.iter().take(REJECTS) {
            html.put("<li><code>{}</code> {}</li>", &[&reject.position, &reject.reason]);
        }
        html.put("</ul>", &[]);
        let all: u64 = report.sources.iter().map(|source| source.rejects).sum();
        more(html, report.rejects.len().max(usize::try_from(all).unwrap_or(0)), REJECTS.min(report.rejects.len()));
    }
}
