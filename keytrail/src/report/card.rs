//! One finding as a card: what, who, whose, the lineage picture, the plan, the events that show it, what to do.

use keytrail_model::{Evidence, Example, Finding, Ownership};

use super::escape::Html;
use super::page::View;
use super::tables::listed;
use super::written::{code, counted, number, range, short, time};
use super::{lineage_svg, plan};
use crate::tables::marked;

pub(super) fn card(html: &mut Html, view: &View, finding: &Finding) {
    let severity = finding.severity;
    html.put(
        "<article class=\"card of-{}\" id=\"{}\" aria-labelledby=\"t-{}\">",
        &[&severity, &finding.id, &finding.id],
    );
    html.put("<header><span class=\"chip {}\">{}</span>", &[&severity, &severity]);
    html.put("<h3 id=\"t-{}\">{}</h3>", &[&finding.id, &finding.title]);
    html.put("<p class=\"id\"><code>{}</code></p></header><p class=\"lead\">{}</p>", &[&finding.id, &marked(finding)]);
    facts(html, view, finding);
    lineage_svg::picture(html, &finding.lineage);
    ownership(html, finding.ownership.as_ref());
    plan::plan(html, view.actions(&finding.id));
    examples(html, finding);
    advice(html, finding);
    html.put("</article>\n", &[]);
}

fn facts(html: &mut Html, view: &View, finding: &Finding) {
    let target = &finding.target;
    html.put("<dl class=\"facts\"><div><dt>When</dt><dd>", &[]);
    range(html, (finding.first_seen, finding.last_seen));
    html.put("</dd></div><div><dt>Events</dt><dd>{}", &[&number(finding.count)]);
    for (outcome, count) in &finding.outcomes {
        html.put(" <span class=\"outcome {}\">{} {}</span>", &[outcome, &number(*count), outcome]);
    }
    html.put("</dd></div>", &[]);
    let kind = [target.kind.as_deref(), target.lifetime.as_deref()].into_iter().flatten();
    let kind = kind.map(|word| word.replace('_', " ")).collect::<Vec<_>>().join(", ");
    id_fact(html, "Credential", target.credential.as_deref(), &kind);
    id_fact(html, "Issued from", target.parent.as_deref(), "");
    id_fact(
        html,
        "Actor",
        target.actor.as_deref(),
        &target.actor_kind.as_deref().unwrap_or_default().replace('_', " "),
    );
    id_fact(html, "Agent", target.agent.as_deref(), "");
    id_fact(html, "Account", target.account.as_deref(), target.provider.as_deref().unwrap_or_default());
    fact(html, "From", &listed(&finding.ips, finding.ip_count, 3));
    fact(html, "Guardrails broken", &finding.guardrails.join(", "));
    if let Some(ticket) = view.ticket(&finding.id) {
        let place = ticket.sent.as_deref().unwrap_or("undelivered, will be retried");
        id_fact(html, "Ticket", Some(&ticket.key), &format!("to {}; {place}", ticket.to.join(", ")));
    }
    html.put("</dl>", &[]);
}

fn fact(html: &mut Html, name: &str, value: &str) {
    if !value.is_empty() {
        html.put("<div><dt>{}</dt><dd>{}</dd></div>", &[&name, &value]);
    }
}

fn id_fact(html: &mut Html, name: &str, id: Option<&str>, note: &str) {
    let Some(id) = id else { return };
    html.put("<div><dt>{}</dt><dd><code>{}</code>", &[&name, &id]);
    if !note.is_empty() {
        html.put(" <small>{}</small>", &[&note]);
    }
    html.put("</dd></div>", &[]);
}

fn ownership(html: &mut Html, ownership: Option<&Ownership>) {
    let Some(known) = ownership else { return };
    html.put("<section class=\"part\"><h4>Owner</h4><p class=\"owner\">", &[]);
    for (index, owner) in known.owners.iter().enumerate() {
        html.put("{}<b>{}</b> <small>{}</small>", &[&(if index > 0 { " or " } else { "" }), &owner.name, &owner.email]);
    }
    if !known.orphan {
        html.put(" <span class=\"sure\">{}% sure</span>", &[&percent(known.confidence)]);
    }
    if known.contested {
        html.put(" <span class=\"flag\">contested</span>", &[]);
    }
    if known.orphan {
        html.put(" <span class=\"flag\">no owner known: fallback</span>", &[]);
    }
    html.put("</p>", &[]);
    if !known.evidence.is_empty() {
        html.put(
            "<table class=\"rows evidence\"><thead><tr><th scope=\"col\">Why</th><th scope=\"col\">Evidence</th>\
            <th scope=\"col\">Confidence</th></tr></thead><tbody>",
            &[],
        );
        known.evidence.iter().for_each(|evidence| self::evidence(html, evidence));
        html.put("</tbody></table>", &[]);
    }
    html.put("</section>", &[]);
}

fn evidence(html: &mut Html, evidence: &Evidence) {
    html.put("<tr><td>{}</td><td>{} <small>", &[&evidence.source.replace('_', " "), &evidence.detail]);
    html.put("names {}", &[&evidence.owner]);
    if let Some(at) = evidence.observed_at {
        html.put(", seen ", &[]);
        time(html, at);
    }
    if let Some(event) = &evidence.event_id {
        html.put(", event {}", &[event]);
    }
    let percent = percent(evidence.confidence);
    html.put(
        "</small></td><td class=\"sureness\"><span style=\"width:calc({} * .9px)\"></span>{}%</td></tr>",
        &[&percent, &percent],
    );
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before the cast")]
fn percent(confidence: f64) -> u8 {
    // Not-a-number becomes 0.
    (confidence.clamp(0.0, 1.0) * 100.0).round() as u8
}

fn examples(html: &mut Html, finding: &Finding) {
    if finding.examples.is_empty() {
        return;
    }
    let shown = finding.examples.len() as u64;
    html.put(
        "<details class=\"part\"><summary>Events <small>the first {} of {}</small></summary>",
        &[&number(shown), &number(finding.count)],
    );
    html.put(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Events of the finding\">\
        <table class=\"rows\"><thead><tr><th scope=\"col\">Time</th><th scope=\"col\">Action</th>\
        <th scope=\"col\">From</th><th scope=\"col\">Resources</th><th scope=\"col\">Record</th></tr></thead><tbody>",
        &[],
    );
    finding.examples.iter().for_each(|example| self::example(html, example));
    html.put("</tbody></table></div>", &[]);
    if finding.resource_count > 0 {
        html.put(
            "<p class=\"note\">{} in all: {}</p>",
            &[&counted(finding.resource_count, "resource"), &listed(&finding.resources, finding.resource_count, 8)],
        );
    }
    html.put("</details>", &[]);
}

fn example(html: &mut Html, example: &Example) {
    html.put("<tr><td class=\"when\">", &[]);
    time(html, example.time);
    html.put(
        "</td><th scope=\"row\">{} <span class=\"outcome {}\">{}</span>",
        &[&example.action, &example.outcome, &example.outcome],
    );
    for (name, value) in example.selected.iter() {
        html.put("<small>{}: {}</small>", &[name, value]);
    }
    html.put("</th><td>{}", &[&example.ip.as_deref().unwrap_or_default()]);
    for note in [&example.user_agent, &example.tool].into_iter().flatten() {
        html.put("<small>{}</small>", &[note]);
    }
    html.put("</td><td>", &[]);
    for resource in example.resources.iter().take(3) {
        html.put("<code title=\"{}\">{}</code> ", &[resource, &short(resource, 40)]);
    }
    html.put("</td><td>", &[]);
    code(html, &example.position);
    html.put("<small>event {}</small>", &[&example.event_id]);
    if let Some(prompt) = &example.prompt_ref {
        html.put("<small>prompt {}</small>", &[prompt]);
    }
    html.put("</td></tr>", &[]);
}

fn advice(html: &mut Html, finding: &Finding) {
    let nothing = finding.runbook.is_none() && finding.false_positives.is_empty() && finding.references.is_empty();
    if nothing && finding.tags.is_empty() {
        return;
    }
    html.put("<section class=\"part advice\">", &[]);
    if let Some(runbook) = &finding.runbook {
        html.put("<h4>Runbook</h4><p>{}</p>", &[runbook]);
    }
    if !finding.false_positives.is_empty() {
        html.put("<h4>Harmless when</h4><p>{}</p>", &[&finding.false_positives.join("; ")]);
    }
    if !finding.references.is_empty() {
        html.put("<h4>References</h4><ul class=\"plain\">", &[]);
        finding.references.iter().for_each(|address| reference(html, address));
        html.put("</ul>", &[]);
    }
    html.put("<p class=\"tags\">rule <code>{}</code> on {}", &[&finding.rule, &finding.source]);
    for tag in &finding.tags {
        html.put(" <span>{}</span>", &[tag]);
    }
    html.put("</p></section>", &[]);
}

/// A link only when it is one: any other scheme stays text.
fn reference(html: &mut Html, address: &str) {
    if address.starts_with("https://") {
        html.put("<li><a href=\"{}\" rel=\"noreferrer noopener\">{}</a></li>", &[&address, &address]);
    } else {
        html.put("<li>{}</li>", &[&address]);
    }
}
