//! The page around the sections: head, masthead with totals, overview, findings, what was read.

use keytrail_model::{Action, Finding, Severity};

use super::escape::Html;
use super::written::{counted, number, range};
use super::{Report, TicketLine, card, charts, tables};

/// Beyond this many, findings stand in the overview table only.
const CARDS: usize = 250;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
script-src 'none'; base-uri 'none'; form-action 'none'\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n";

/// A report with what the sections look up again and again.
pub(super) struct View<'a> {
    pub(super) report: &'a Report,
    /// The gravest first, then the oldest, then by id.
    pub(super) findings: Vec<&'a Finding>,
}

impl<'a> View<'a> {
    fn new(report: &'a Report) -> Self {
        let mut findings: Vec<_> = report.findings.iter().collect();
        findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.first_seen, &finding.id));
        Self { report, findings }
    }

    pub(super) fn actions(&self, finding: &str) -> impl Iterator<Item = &'a Action> {
        self.report.actions.iter().filter(move |action| action.finding == finding)
    }

    pub(super) fn ticket(&self, finding: &str) -> Option<&'a TicketLine> {
        self.report.tickets.iter().find(|ticket| ticket.findings.iter().any(|id| id == finding))
    }

    pub(super) fn of(&self, severity: Severity) -> u64 {
        self.findings.iter().filter(|finding| finding.severity == severity).count() as u64
    }

    fn total(&self, of: impl Fn(&super::SourceTotals) -> u64) -> u64 {
        self.report.sources.iter().map(of).sum()
    }
}

pub(super) fn render(report: &Report) -> String {
    let view = View::new(report);
    let mut html = Html::default();
    html.put(HEAD, &[]);
    html.put("<title>{}</title>\n<style>\n", &[&report.title]);
    html.put(include_str!("style.css"), &[]);
    html.put("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#findings\">Skip to the findings</a>\n", &[]);
    masthead(&mut html, &view);
    html.put("<main>\n", &[]);
    tiles(&mut html, &view);
    overview(&mut html, &view);
    findings(&mut html, &view);
    tables::reading(&mut html, report);
    html.put("</main>\n<footer><p>Made by Keytrail {} from {}. ", &[&env!("CARGO_PKG_VERSION"), &report.generated_for]);
    html.put(
        "Times are UTC. Credentials are named by id; no secret is in this page.</p></footer>\n</body>\n</html>\n",
        &[],
    );
    html.into_string()
}

fn masthead(html: &mut Html, view: &View) {
    html.put("<header class=\"mast\"><p class=\"brand\"><span aria-hidden=\"true\"></span>Keytrail</p>", &[]);
    html.put("<h1>{}</h1><p class=\"for\">{}", &[&view.report.title, &view.report.generated_for]);
    if let Some(seen) = view.report.time_range {
        html.put(" <span class=\"dot\">·</span> events of ", &[]);
        range(html, seen);
    }
    html.put("</p></header>\n", &[]);
}

fn tiles(html: &mut Html, view: &View) {
    html.put("<section class=\"tiles\" aria-label=\"Totals\">", &[]);
    html.put("<div class=\"tile wide\"><p class=\"value\">{}</p>", &[&number(view.findings.len() as u64)]);
    html.put("<p class=\"label\">findings</p>", &[]);
    charts::severities(html, &Severity::ALL.map(|severity| view.of(severity)));
    severity_words(html, view);
    html.put("</div>", &[]);
    let report = view.report;
    let refused = report.actions.iter().filter(|action| action.refused.is_some()).count() as u64;
    let undelivered = report.tickets.iter().filter(|ticket| ticket.sent.is_none()).count() as u64;
    let skipped = format!("{} left aside", number(view.total(|source| source.skipped)));
    let rejects = view.total(|source| source.rejects);
    let tiles = [
        (view.total(|source| source.events), "events read", skipped),
        (report.sources.len() as u64, "log sources", counted(rejects, "reject")),
        (report.static_keys.len() as u64, "static keys in use", String::new()),
        (report.actions.len() as u64 - refused, "actions planned", format!("{} refused", number(refused))),
        (report.tickets.len() as u64, "tickets", format!("{} undelivered", number(undelivered))),
    ];
    for (value, label, note) in tiles {
        html.put("<div class=\"tile\"><p class=\"value\">{}</p><p class=\"label\">{}</p>", &[&number(value), &label]);
        html.put("<p class=\"note\">{}</p></div>", &[&note]);
    }
    html.put("</section>\n", &[]);
}

fn severity_words(html: &mut Html, view: &View) {
    html.put("<ul class=\"legend\">", &[]);
    for severity in Severity::ALL.into_iter().rev() {
        let count = view.of(severity);
        if count > 0 {
            html.put("<li><i class=\"key {}\"></i>{} {}</li>", &[&severity, &number(count), &severity]);
        }
    }
    html.put("</ul>", &[]);
}

fn overview(html: &mut Html, view: &View) {
    if view.findings.is_empty() {
        return;
    }
    html.put("<section aria-labelledby=\"over-time\"><h2 id=\"over-time\">Findings over time</h2>", &[]);
    charts::over_time(html, &view.findings);
    html.put("</section>\n<div class=\"pair\">", &[]);
    tables::by_credential(html, view);
    tables::by_owner(html, view);
    html.put("</div>\n", &[]);
    tables::static_keys(html, &view.report.static_keys);
}

fn findings(html: &mut Html, view: &View) {
    html.put("<section id=\"findings\" aria-labelledby=\"all\"><h2 id=\"all\">Findings</h2>", &[]);
    if view.findings.is_empty() {
        html.put("<p class=\"empty\">No rule found anything in what was read.</p></section>\n", &[]);
        return;
    }
    filters(html, view);
    tables::index(html, view);
    html.put(
        "<p class=\"lines\"><b>Lineage pictures:</b> <span><i class=\"line\"></i> observed in the logs</span> \
        <span><i class=\"line declared\"></i> declared or allowed</span> \
        <span><i class=\"line denied\"></i> denied, or breaks a guardrail</span></p>",
        &[],
    );
    for finding in view.findings.iter().take(CARDS) {
        card::card(html, view, finding);
    }
    let rest = view.findings.len().saturating_sub(CARDS) as u64;
    if rest > 0 {
        html.put(
            "<p class=\"empty\">{} more in the table above; `keytrail finding show` tells each.</p>",
            &[&counted(rest, "finding")],
        );
    }
    html.put("</section>\n", &[]);
}

/// Ticked boxes and CSS do what a script would.
fn filters(html: &mut Html, view: &View) {
    html.put("<fieldset class=\"filters\"><legend>Show</legend>", &[]);
    for severity in Severity::ALL.into_iter().rev() {
        let count = view.of(severity);
        if count > 0 {
            html.put("<label class=\"{}\"><input type=\"checkbox\" id=\"show-{}\" checked>", &[&severity, &severity]);
            html.put("<span>{}</span> <b>{}</b></label>", &[&severity, &number(count)]);
        }
    }
    html.put("</fieldset>", &[]);
}
