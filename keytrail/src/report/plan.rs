//! The plan of a finding: what would be called, exactly, how it is undone, what it does not reach, what was refused.

use keytrail_model::{Action, Call, Mode, Undo};
use serde_json::Value;

use super::escape::Html;

pub(super) fn plan<'a>(html: &mut Html, actions: impl Iterator<Item = &'a Action>) {
    let mut actions = actions.peekable();
    if actions.peek().is_none() {
        return;
    }
    html.put("<section class=\"part\"><h4>Plan</h4>", &[]);
    actions.for_each(|action| self::action(html, action));
    html.put("</section>", &[]);
}

fn action(html: &mut Html, action: &Action) {
    let class = if action.refused.is_some() { "refused" } else { "planned" };
    html.put("<div class=\"action {}\"><p><b>{}</b> ", &[&class, &action.summary]);
    html.put("<span class=\"mode\">{}</span></p>", &[&mode(action)]);
    html.put("<p class=\"note\">{} on <code>{}</code>", &[&action.remediator, &action.target]);
    html.put(", by playbook {}</p>", &[&action.playbook]);
    if let Some(refusal) = &action.refused {
        html.put("<p class=\"refusal\"><b>Refused</b> ({}): {}</p>", &[&refusal.code, &refusal.reason]);
    }
    if action.refused.is_none() || !action.calls.is_empty() {
        steps(html, action);
    }
    html.put("</div>", &[]);
}

fn steps(html: &mut Html, action: &Action) {
    calls(html, "Calls", &action.calls);
    match &action.undo {
        Undo::Calls(undo) => calls(html, "Undo", undo),
        Undo::Irreversible(instead) => html.put("<p><b>Cannot be undone:</b> {}</p>", &[instead]),
    }
    if !action.limits.is_empty() {
        html.put("<p><b>Limits</b></p><ul class=\"plain\">", &[]);
        action.limits.iter().for_each(|limit| html.put("<li>{}</li>", &[limit]));
        html.put("</ul>", &[]);
    }
}

fn mode(action: &Action) -> &'static str {
    match (action.refused.is_some(), action.mode) {
        (true, _) => "refused, nothing is called",
        (false, Mode::Shadow) => "shadow, nothing was called",
        (false, Mode::Approve) => "waits for approval",
        (false, Mode::Enforce) => "enforce",
    }
}

fn calls(html: &mut Html, what: &'static str, calls: &[Call]) {
    if calls.is_empty() {
        return;
    }
    let open = if what == "Calls" { "open" } else { "closed" };
    html.put("<details class=\"calls {}\"", &[&open]);
    html.put(if what == "Calls" { " open>" } else { ">" }, &[]);
    html.put("<summary>{}</summary>", &[&what]);
    calls.iter().for_each(|call| self::call(html, call));
    html.put("</details>", &[]);
}

fn call(html: &mut Html, call: &Call) {
    html.put("<div class=\"call\"><p><code><b>{}</b> {}</code>", &[&call.operation, &call.service]);
    html.put(" <small>needs {}</small></p>", &[&call.permission]);
    let body = if call.parameters.is_empty() { String::new() } else { pretty(&call.parameters) };
    let http = call.http.as_deref().unwrap_or_default();
    let gap = if http.is_empty() || body.is_empty() { "" } else { "\n" };
    if !http.is_empty() || !body.is_empty() {
        html.put("<pre tabindex=\"0\">{}{}{}</pre>", &[&http, &gap, &body]);
    }
    html.put("</div>", &[]);
}

fn pretty(parameters: &serde_json::Map<String, Value>) -> String {
    serde_json::to_string_pretty(parameters).unwrap_or_default()
}
