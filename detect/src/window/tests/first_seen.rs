//! Values that are new for a group.

use super::*;

fn new_after(learn: i64, follow: i64) -> Window {
    Window::new(0, Kind::Sliding, Measure::FirstSeen { learn, follow })
}

#[test]
fn a_value_is_new_from_the_end_of_learning() {
    let entries = |second| vec![at(0, "a").text("x"), at(second, "b").text("y")];
    assert_eq!(matches(&new_after(10, 5), entries(9)), Vec::<String>::new());
    assert_eq!(matches(&new_after(10, 5), entries(10)), ["b@10"]);
    assert_eq!(matches(&new_after(0, 5), entries(1)), ["a@0", "b@1"]);
}

#[test]
fn an_event_without_the_value_begins_the_learning_and_no_more() {
    assert_eq!(matches(&new_after(10, 5), vec![at(0, "a"), at(10, "b").text("x"), at(20, "c")]), ["b@10"]);
}

#[test]
fn a_value_is_new_once() {
    let entries = vec![at(0, "a").text("x"), at(20, "b").text("y"), at(90, "c").text("y"), at(91, "d").text("x")];
    assert_eq!(matches(&new_after(10, 5), entries.clone()), ["b@20"]);
    let mut lane = lane(&new_after(10, 5), entries);
    let early = lane.settle(&new_after(10, 5), Micros(50));
    assert_eq!((shown(&early), lane.settle(&new_after(10, 5), end())), (vec!["b@20".to_owned()], vec![]));
}

#[test]
fn of_equal_times_the_smaller_id_is_first() {
    let entries = vec![at(0, "a"), at(20, "c").text("x"), at(20, "b").text("x")];
    assert_eq!(matches(&new_after(10, 5), entries), ["bc@20"]);
}

#[test]
fn later_events_are_counted_for_a_while_and_the_earliest_kept() {
    let mut entries = vec![at(0, "a")];
    entries.extend((0..9).map(|n| at(100 + n, &n.to_string()).text("x")));
    let all = found(&new_after(10, 7), entries);
    let counted = all.first().map(|found| (found.count, found.last, found.at));
    assert_eq!(shown(&all), ["01234@100"]);
    assert_eq!(counted, Some((8, Micros(107), Micros(100))));
}

#[test]
fn a_new_value_is_told_at_once_and_final_when_no_more_is_counted() {
    let window = new_after(10, 5);
    let mut lane = lane(&window, vec![at(0, "a").text("x"), at(20, "b").text("y")]);
    assert_eq!(lane.settle(&window, Micros(20)), []);
    assert_eq!(lane.growing(&window), [], "an earlier one may still come");
    assert!(lane.push(&window, at(20, "a").text("y")));
    assert_eq!(lane.settle(&window, Micros(21)), []);
    assert_eq!(shown(&lane.growing(&window)), ["ab@20"]);
    assert_eq!(shown(&lane.settle(&window, Micros(26))), ["ab@20"]);
    assert!(!lane.is_idle() && lane.growing(&window).is_empty());
}

#[test]
fn many_events_of_one_value_cost_nothing() {
    let window = new_after(10, 86_400_000_000);
    let mut lane = Lane::default();
    for n in 0..200_000_i64 {
        assert!(lane.push(&window, at((n * 7_919) % 200_000 * 1_000_000, "a").text("x")));
    }
    assert_eq!(lane.len(), 1);
    let saved = serde_json::to_string(&lane).expect("text");
    assert!(saved.len() < 32_000, "{} bytes", saved.len());
}

#[test]
fn values_too_many_are_dropped_and_counted() {
    let window = Window { limit: 2, ..new_after(1, 5) };
    let mut lane = lane(&window, ["x", "y", "z", "x"].map(|text| at(5, text).text(text)).to_vec());
    assert_eq!((lane.len(), lane.dropped), (2, 1));
    let other = super::lane(&window, ["v", "w", "x"].map(|text| at(6, text).text(text)).to_vec());
    assert_eq!((lane.merge(&window, other), lane.dropped), (0, 1 + 1 + 2));
}
