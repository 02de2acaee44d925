//! What the page promises: inert, self-contained, whole, and the same every time.

use keytrail_model::{Finding, Micros, Severity, Target};

use super::sample::{finding, report};
use super::{Report, render};

#[test]
fn the_same_report_gives_the_same_bytes_in_any_order_of_findings() {
    let mut turned = report();
    turned.findings.reverse();
    assert_eq!(render(&report()), render(&turned));
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let html = render(&report());
    for forbidden in ["<script", "<img", "<link", "<iframe", "@import", "url(", " src=", " onload", "javascript:"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'; script-src 'none'"));
}

#[test]
fn hostile_values_are_inert_wherever_they_stand() {
    const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{}";
    let json = serde_json::to_string(HOSTILE).expect("json");
    let mut hostile = report();
    let inner = json.trim_matches('"');
    let swap = |text: String| {
        let text = text.replace("customers-eu", inner).replace("ci-deploy", inner).replace("Maya Ito", inner);
        text.replace("fnd-5f2d9c1e7a6b4c3d", inner)
            .replace("https://genai", "javascript:alert(1)//")
            .replace("denied", inner)
    };
    let text = swap(serde_json::to_string(&hostile.findings).expect("json"));
    hostile.findings = serde_json::from_str(&text).expect("findings");
    let text = swap(serde_json::to_string(&hostile.actions).expect("json"));
    hostile.actions = serde_json::from_str(&text).expect("actions");
    hostile.title = HOSTILE.to_owned();
    hostile.unknown_schemas[0].what = HOSTILE.to_owned();
    hostile.tickets[0].to = vec![HOSTILE.to_owned()];
    let html = render(&hostile);
    assert!(html.matches("&lt;script&gt;alert(1)").count() > 20);
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("href=\"javascript"));
    // A quote that got through would end an attribute and start another.
    assert!(!html.contains(" onerror=alert(1)>") && !html.contains("\"'>"));
}

#[test]
fn every_finding_says_what_who_whose_and_what_to_do() {
    let html = render(&report());
    let card = html.split("<article").find(|part| part.contains("id=\"fnd-a91c03e2f4d58b67\"")).expect("a card");
    for told in [
        "Static AWS access key in use",
        "2,182",
        "81 denied",
        "AKIAIOSFODNN7EXAMPLE",
        "<b>Ben Okafor</b>",
        "80% sure",
        "tagged owner=ben.okafor",
        "<svg viewBox",
        "UpdateAccessKey",
        "&quot;Status&quot;: &quot;Inactive&quot;",
        "&quot;Status&quot;: &quot;Active&quot;",
        "at most 36 hours",
        "refund-agent.jsonl:17",
        "OIDC federation",
    ] {
        assert!(card.contains(told), "{told}");
    }
    let gravest = html.find("<article").and_then(|at| html.get(at..at + 60)).unwrap_or_default();
    assert!(gravest.contains("of-critical"), "{gravest}");
    assert!(html.contains("<b>Refused</b> (needs_look_up)") && html.contains("KT-7c1b90aa"));
}

#[test]
fn elements_are_closed_in_order() {
    let html = render(&report());
    let mut open: Vec<&str> = Vec::new();
    for piece in html.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap_or_default();
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
        let void = ["meta", "br", "input", "!doctype"].contains(&name) || tag.ends_with('/');
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "near {piece:.80}");
        } else if !void {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn nothing_found_is_said_and_a_great_many_are_bounded() {
    let empty = render(&Report { title: "Nothing".to_owned(), ..Report::default() });
    assert!(empty.contains("No rule found anything"));
    let one = |n: u32| finding(&format!("fnd-{n:04}"), "t", Severity::Low, "2026-11-03T00:00:00Z", Target::default());
    let many = Report { findings: (0..3_000).map(one).collect(), ..Report::default() };
    let html = render(&many);
    assert_eq!(html.matches("<article").count(), 250);
    assert!(html.contains("2,750 findings more in the table above"));
}

#[test]
fn absurd_times_are_drawn_too() {
    for (first, second) in [(i64::MIN, i64::MAX), (i64::MIN, i64::MIN), (0, i64::MAX), (-62_000_000_000_000_000, 1)] {
        let at = |id: &str, time: i64| {
            let finding = finding(id, "t", Severity::Low, "2026-11-03T00:00:00Z", Target::default());
            Finding { first_seen: Micros(time), last_seen: Micros(time), ..finding }
        };
        let report = Report { findings: vec![at("fnd-1", first), at("fnd-2", second)], ..Report::default() };
        assert!(render(&report).contains("Findings over time"));
    }
}
