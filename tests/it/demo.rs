//! `keytrail demo`: a stranger sees misuse over several log sources, with owner, plan and ticket, the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

use crate::run::{Folder, ndjson};

/// What one demo leaves behind.
#[derive(PartialEq)]
struct Shown {
    stdout: String,
    stderr: String,
    ndjson: String,
    /// By file name.
    tickets: BTreeMap<String, String>,
    report: String,
    has_store: bool,
}

static DEMO: LazyLock<Shown> = LazyLock::new(|| demo("first"));

fn demo(out: &str) -> Shown {
    let folder = Folder::new();
    let ran = folder.run(&["demo", "--out", out]).ok();
    let tickets = std::fs::read_dir(folder.path(out).join("tickets")).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = folder.read(&format!("{out}/tickets/{name}"));
        (name, text)
    });
    Shown {
        tickets: tickets.collect(),
        ndjson: folder.read(&format!("{out}/findings.ndjson")),
        report: folder.read(&format!("{out}/report.html")),
        has_store: folder.path(out).join("keytrail.db").is_file(),
        stdout: ran.stdout,
        stderr: ran.stderr,
    }
}

fn findings() -> Vec<Value> {
    ndjson(&DEMO.ndjson)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Findings of a rule about an agent.
fn of<'a>(findings: &'a [Value], rule: &str, agent: &str) -> Vec<&'a Value> {
    let wanted = |finding: &&Value| {
        text(finding, "/finding_info/analytic/uid").starts_with(rule)
            && text(finding, "/unmapped/credential/agent") == agent
    };
    findings.iter().filter(wanted).collect()
}

#[test]
fn eight_findings_over_four_log_sources() {
    let findings = findings();
    let sources: BTreeSet<&str> =
        findings.iter().map(|finding| text(finding, "/finding_info/data_sources/0")).collect();
    assert!(findings.len() >= 8, "{} findings", findings.len());
    assert!(sources.len() >= 4, "{sources:?}");
}

#[test]
fn each_finding_has_owner_plan_and_ticket() {
    for finding in findings() {
        let id = text(&finding, "/finding_info/uid");
        assert!(!text(&finding, "/unmapped/ownership/owners/0/email").is_empty(), "{id} has no owner");
        assert!(!list(&finding, "/unmapped/actions").is_empty(), "{id} has no planned action");
        let named = DEMO.tickets.values().any(|ticket| ticket.contains(id));
        assert!(named, "no ticket names {id}");
    }
}

#[test]
fn the_ticket_goes_to_the_owner() {
    for finding in findings() {
        let id = text(&finding, "/finding_info/uid");
        for owner in list(&finding, "/unmapped/ownership/owners") {
            let email = text(owner, "/email");
            let told = |ticket: &String| ticket.contains(id) && recipients(ticket).contains(email);
            assert!(DEMO.tickets.values().any(told), "{email} gets no ticket about {id}");
        }
    }
}

fn recipients(ticket: &str) -> String {
    ticket.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("To:")).collect()
}

#[test]
fn it_says_where_everything_went() {
    assert!(DEMO.has_store);
    for file in ["first/findings.ndjson", "first/tickets", "first/keytrail.db", "first/report.html"] {
        assert!(DEMO.stderr.contains(file), "{file} is not named: {}", DEMO.stderr);
    }
    for part in ["owner", "plan", "ticket", "shadow", "CRITICAL"] {
        assert!(DEMO.stdout.contains(part), "`{part}` is not shown: {}", DEMO.stdout);
    }
}

#[test]
fn twice_is_the_same_to_the_byte() {
    let again = demo("second");
    assert_eq!(DEMO.ndjson, again.ndjson);
    assert_eq!(DEMO.tickets, again.tickets);
    assert!(DEMO.report == again.report, "report.html differs: {}", first_difference(&DEMO.report, &again.report));
    assert_eq!(DEMO.stdout, again.stdout);
}

fn first_difference(left: &str, right: &str) -> String {
    let lines = left.lines().zip(right.lines()).find(|(left, right)| left != right);
    lines.map(|(left, right)| format!("{left:.300}\n{right:.300}")).unwrap_or_default()
}

#[test]
fn story_an_agent_reaches_for_a_second_cluster() {
    let findings = findings();
    let left = of(&findings, "agent-out-of-scope", "refund-agent");
    let cluster = |finding: &&&Value| finding["resources"].to_string().contains("cluster:customers");
    let reached: Vec<_> = left.iter().filter(cluster).collect();
    assert!(!reached.is_empty(), "refund-agent does not reach cluster customers");
    assert!(reached.iter().all(|finding| text(finding, "/evidences/0/data/prompt_ref").starts_with("aws.bedrock/")));
    assert!(reached.iter().any(|finding| finding["unmapped"]["outcomes"]["denied"].as_u64() > Some(0)));
    assert!(reached.iter().any(|finding| finding["unmapped"]["outcomes"]["allowed"].as_u64() > Some(0)));
    assert_eq!(of(&findings, "aws-denied-by-session-policy", "refund-agent").len(), 2);
    assert!(!of(&findings, "agent-reads-secret", "refund-agent").is_empty());
    assert!(DEMO.ndjson.contains("ai-agents-stay-off-customer-data"));
}

#[test]
fn story_a_coding_agent_with_its_developers_token() {
    let findings = findings();
    let token = of(&findings, "github-token-used-by-coding-agent", "coding-agent");
    let [finding] = token.as_slice() else { panic!("{} findings", token.len()) };
    assert_eq!(text(finding, "/unmapped/credential/kind"), "github_pat_classic");
    assert_eq!(text(finding, "/unmapped/ownership/owners/0/id"), "maya.ito");
    let beyond = of(&findings, "agent-out-of-scope", "coding-agent");
    assert!(!beyond.is_empty());
    for finding in beyond {
        let elsewhere = |uid: &str| uid.contains("example-org") && !uid.contains("example-org/storefront");
        let reached = list(finding, "/resources").iter().any(|resource| elsewhere(text(resource, "/uid")));
        assert!(reached, "all of it is storefront: {}", finding["resources"]);
    }
}

#[test]
fn story_an_mcp_server_with_an_ambient_key() {
    let findings = findings();
    let ambient = of(&findings, "mcp-server-ambient-credential", "billing-mcp");
    let [finding] = ambient.as_slice() else { panic!("{} findings", ambient.len()) };
    assert_eq!(text(finding, "/unmapped/credential/lifetime"), "static");
    assert_eq!(text(finding, "/unmapped/ownership/owners/0/id"), "ben.okafor");
    assert!(!of(&findings, "aws-secrets-read-with-static-key", "billing-mcp").is_empty());
}

/// Words of 20 letters and digits that begin as an AWS key id does.
fn key_ids(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| word.len() == 20 && (word.starts_with("AKIA") || word.starts_with("ASIA"))).collect()
}

#[test]
fn each_planned_call_is_about_the_findings_own_credential() {
    let mut calls = 0;
    for finding in findings() {
        let target = &finding["unmapped"]["credential"];
        let own = [text(target, "/credential"), text(target, "/parent")];
        let name = |path: &str| text(target, path).rsplit(['/', ':']).next().unwrap_or_default().to_owned();
        let names =
            [own.map(str::to_owned).to_vec(), vec![name("/actor"), name("/session"), name("/credential")]].concat();
        let resources: Vec<&str> = list(&finding, "/resources").iter().map(|resource| text(resource, "/uid")).collect();
        for action in list(&finding, "/unmapped/actions") {
            let undo = list(action, "/undo/calls");
            for call in list(action, "/calls").iter().chain(undo) {
                calls += 1;
                let said = call.to_string();
                assert!(key_ids(&said).iter().all(|id| own.contains(id)), "{said} is about another key than {own:?}");
                let about = names.iter().any(|name| !name.is_empty() && said.contains(name.as_str()));
                assert!(about || resources.iter().any(|uid| said.contains(uid)), "{said} is not about {target}");
            }
        }
    }
    assert!(calls > 20, "{calls} calls");
}

#[test]
fn of_two_keys_only_the_offending_one_is_disabled() {
    let findings = findings();
    let disabled = |finding: &Value| {
        let calls = list(finding, "/unmapped/actions").iter().flat_map(|action| list(action, "/calls"));
        let calls = calls.filter(|call| text(call, "/operation") == "UpdateAccessKey");
        calls.map(|call| text(call, "/parameters/AccessKeyId").to_owned()).collect::<BTreeSet<_>>()
    };
    let ci = findings.iter().filter(|finding| text(finding, "/unmapped/credential/actor").ends_with("user/ci-deploy"));
    let grave: BTreeSet<String> =
        ci.filter(|finding| text(finding, "/severity") == "high").flat_map(disabled).collect();
    assert_eq!(grave.into_iter().collect::<Vec<_>>(), ["AKIAICIDEPLOYEXAMPLE"]);
    for finding in &findings {
        let own = [text(finding, "/unmapped/credential/credential"), text(finding, "/unmapped/credential/parent")];
        assert!(disabled(finding).iter().all(|id| own.contains(&id.as_str())));
    }
}

#[test]
fn the_report_loads_nothing() {
    let report = &DEMO.report;
    assert!(report.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'"), "no policy");
    for load in ["src=", "@import", "url(", "<script", "<link", "<iframe", "<object", "<embed", "<base", "srcset"] {
        assert!(!report.to_lowercase().contains(load), "the report holds `{load}`");
    }
    let hrefs = report.match_indices("href=\"").map(|(at, _)| (&report[..at], &report[at + 6..]));
    for (before, after) in hrefs.filter(|(_, after)| after.starts_with("http")) {
        assert!(before.ends_with("<a "), "a load, not a link: {after:.80}");
    }
}
