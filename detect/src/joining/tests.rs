//! Joins see what is known at the event's time; by way of the index and plainly alike.

use arrow::array::TimestampMicrosecondArray;
use keytrail_model::tables::{Cell, Row, find};
use keytrail_model::{Place, schema};
use proptest::prelude::*;

use super::*;
use crate::{Detector, Rule, SourceFields};

const SOURCE: &str = "aws.cloudtrail";

/// One table: its name, and its rows as columns and texts.
type Named<'a> = (&'a str, &'a [&'a [(&'a str, &'a str)]]);

fn detector(sql: &str, tables: &[Named<'_>]) -> Detector {
    let head = "id: r\ntitle: t\nseverity: high\nsource: aws.cloudtrail\ndescription: d\nsummary: s\n";
    let text = format!("{head}group_by: [credential, actor]\nsql: \"{sql}\"\n");
    let rule = Rule::read("r.yaml", &text).expect("a rule");
    assert!(rule.settled());
    let source = SourceFields { name: SOURCE, knows: &|_| Ok(()), dialect: None };
    let tables = tables.iter().map(|(name, rows)| {
        let table = find(name).expect(name);
        let rows: Vec<Row> = rows.iter().map(|cells| row(table, cells)).collect();
        (table, table.batch(&rows).expect("a batch"))
    });
    let reference = Reference::new(tables);
    Detector::new(vec![rule], &[source]).expect("a detector").joining(Arc::new(reference))
}

/// Times are written as whole microseconds.
fn row(table: &Table, cells: &[(&str, &str)]) -> Row {
    let mut row: Row = vec![None; table.columns.len()];
    for (name, text) in cells {
        let (at, column) = table.column(name).expect(name);
        row[at] = Some(match column.kind {
            schema::Kind::Time => Cell::Time(Micros(text.parse().expect(text))),
            _ => Cell::Text((*text).into()),
        });
    }
    row
}

/// Events of time, credential, actor and outcome.
fn events(rows: &[(i64, &str, &str, &str)]) -> EventBatch {
    let column = |field: &schema::Field| -> ArrayRef {
        let text = |pick: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new((0..rows.len()).map(|row| Some(pick(row))).collect::<StringViewArray>())
        };
        match field.name {
            "time" => {
                let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0));
                Arc::new(times.with_timezone("UTC"))
            }
            "event_id" => text(&|row| format!("e{row}")),
            "credential" => text(&|row| rows[row].1.to_owned()),
            "actor" => text(&|row| rows[row].2.to_owned()),
            "outcome" => text(&|row| rows[row].3.to_owned()),
            _ => new_null_array(&field.kind.arrow(), rows.len()),
        }
    };
    let columns = schema::FIELDS.iter().map(column).collect();
    let fields = schema::FIELDS.iter().map(|field| Field::new(field.name, field.kind.arrow(), true));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).expect("a batch");
    EventBatch { source: SOURCE.into(), origins: "t".into(), batch, places: vec![Place::default(); rows.len()] }
}

/// The rows that match, by way of the index; plainly they are the same.
fn matching(detector: &mut Detector, events: &EventBatch) -> Vec<u32> {
    let matches = detector.matches(events);
    assert_eq!(matches, detector.matches_plainly(events));
    matches.rows()
}

const ISSUED: &[(&str, &str)] = &[("credential", "k"), ("created_by", "maya"), ("since", "10")];
const INNER: &str = "SELECT c.created_by FROM events e JOIN credentials c ON c.credential = e.credential \
                     WHERE c.created_by <> e.actor AND e.outcome = 'allowed'";

#[test]
fn a_fact_learnt_later_is_not_seen_and_at_equal_time_it_is() {
    let mut detector = detector(INNER, &[("credentials", &[ISSUED])]);
    let ben = |time| (time, "k", "ben", "allowed");
    let batch = events(&[ben(9), ben(10), ben(11), (11, "k", "maya", "allowed"), (11, "k", "ben", "denied")]);
    assert_eq!(matching(&mut detector, &batch), [1, 2]);
    detector.evaluate(&batch);
    let findings = detector.findings();
    let shown = findings.first().and_then(|finding| finding.examples.first()).map(|example| example.selected.clone());
    assert_eq!(shown.and_then(|shown| shown.get("c.created_by").cloned()).as_deref(), Some("maya"));
}

#[test]
fn a_left_join_keeps_events_without_a_row() {
    let text =
        "SELECT * FROM events e LEFT JOIN credentials c ON c.credential = e.credential WHERE c.created_by IS NULL";
    let batch = events(&[(9, "k", "ben", "allowed"), (10, "k", "ben", "allowed"), (9, "other", "ben", "allowed")]);
    let rows: &[&[(&str, &str)]] = &[ISSUED];
    assert_eq!(matching(&mut detector(text, &[("credentials", rows)]), &batch), [0, 2]);
    assert_eq!(matching(&mut detector(&text.replace("LEFT ", ""), &[("credentials", rows)]), &batch), [] as [u32; 0]);
    assert_eq!(matching(&mut detector(text, &[]), &batch), [0, 1, 2], "without tables nothing is known");
}

#[test]
fn any_edge_will_do_and_a_join_without_where_asks_for_one() {
    let edge = |from: &'static str, to: &'static str| [("edge", "uses"), ("from_id", from), ("to_id", to)];
    let (one, two, three) = (edge("a", "x"), edge("ben", "k"), edge("ben", "j"));
    let rows: &[&[(&str, &str)]] = &[&one, &two, &three];
    let batch = events(&[(1, "k", "ben", "allowed"), (1, "j", "maya", "allowed"), (1, "z", "ben", "allowed")]);
    let exists = "SELECT * FROM events e JOIN edges g ON g.from_id = e.actor AND g.edge = 'uses'";
    assert_eq!(matching(&mut detector(exists, &[("edges", rows)]), &batch), [0, 2]);
    let same = format!("{exists} WHERE g.to_id = e.credential");
    assert_eq!(matching(&mut detector(&same, &[("edges", rows)]), &batch), [0]);
}

#[test]
fn combinations_are_judged_in_chunks() {
    let cells: Vec<[(&str, String); 2]> =
        (0..90).map(|n| [("from_id", "ben".to_owned()), ("to_id", n.to_string())]).collect();
    let cells: Vec<Vec<(&str, &str)>> =
        cells.iter().map(|row| row.iter().map(|(n, t)| (*n, t.as_str())).collect()).collect();
    let rows: Vec<&[(&str, &str)]> = cells.iter().map(Vec::as_slice).collect();
    let text = "SELECT a.to_id, b.to_id FROM events e JOIN edges a ON a.from_id = e.actor \
                JOIN edges b ON b.from_id = e.actor WHERE a.to_id = '88' AND b.to_id = '7'";
    let mut detector = detector(text, &[("edges", &rows)]);
    let batch = events(&[(1, "k", "ben", "allowed"), (1, "k", "maya", "allowed"), (1, "k", "ben", "denied")]);
    assert_eq!(matching(&mut detector, &batch), [0, 2]);
}

proptest! {
    #[test]
    fn joins_say_what_a_walk_over_all_rows_says(
        known in prop::collection::vec((0..3usize, 0..3usize, 0..6i64), 0..12),
        seen in prop::collection::vec((0..6i64, 0..4usize, 0..3usize, any::<bool>()), 1..20),
    ) {
        let (keys, people) = (["k", "j", "i", "h"], ["maya", "ben", "ada"]);
        let times: Vec<String> = known.iter().map(|(_, _, since)| since.to_string()).collect();
        let cells: Vec<Vec<(&str, &str)>> = known.iter().zip(&times).map(|((key, by, _), since)| {
            vec![("credential", keys[*key]), ("created_by", people[*by]), ("since", since.as_str())]
        }).collect();
        let rows: Vec<&[(&str, &str)]> = cells.iter().map(Vec::as_slice).collect();
        let outcome = |allowed: bool| if allowed { "allowed" } else { "denied" };
        let told = seen.iter().map(|&(time, key, actor, allowed)| (time, keys[key], people[actor], outcome(allowed)));
        let told: Vec<_> = told.collect();
        let latest = |key: usize, time: i64| {
            let rows = known.iter().enumerate().filter(|(_, (about, _, since))| *about == key && *since <= time);
            rows.max_by_key(|(at, (_, _, since))| (*since, *at)).map(|(_, (_, by, _))| *by)
        };
        let holds = |&(time, key, actor, allowed): &(i64, usize, usize, bool)| {
            allowed && latest(key, time).is_some_and(|by| by != actor)
        };
        let expected: Vec<u32> = (0u32..).zip(&seen).filter(|(_, event)| holds(event)).map(|(row, _)| row).collect();
        prop_assert_eq!(matching(&mut detector(INNER, &[("credentials", &rows)]), &events(&told)), expected);
    }
}

#[test]
fn events_ask_for_what_they_join_and_for_all_where_no_id_is_given() {
    let sql = "SELECT c.owner FROM events e JOIN credentials c ON c.credential = e.credential \
               LEFT JOIN edges g ON g.to_kind = 'principal' AND g.to_id = e.actor AND g.from_kind = 'agent' \
               LEFT JOIN owners o ON o.subject_kind = 'agent' WHERE c.owner IS NOT NULL";
    let detector = detector(sql, &[]);
    let asked =
        detector.questions(&events(&[(1, "k", "a", "allowed"), (2, "k", "b", "denied"), (3, "l", "a", "denied")]));
    let about = |kind: &str, ids: [&str; 2]| {
        let mut asked = Asked::nothing();
        ids.into_iter().for_each(|id| asked.ask(kind, id));
        asked
    };
    let credentials = about(Asked::ANY, ["k", "l"]);
    let expected = [("credentials", credentials), ("edges", about("principal", ["a", "b"])), ("owners", Asked::All)];
    assert_eq!(asked, expected.into_iter().collect());
}
