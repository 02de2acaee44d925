//! What a lane keeps, refuses and forgets.

use super::*;

fn count(bound: f64) -> Window {
    Window::new(10, Kind::Sliding, Measure::Count(atleast(bound)))
}

#[test]
fn what_comes_after_its_time_was_settled_is_late() {
    let window = count(2.0);
    let mut lane = Lane::default();
    assert_eq!(lane.settle(&window, Micros(5)), []);
    assert!(!lane.push(&window, at(4, "a")) && lane.push(&window, at(5, "b")));
    assert_eq!(lane.settle(&window, Micros(1)), [], "a watermark never falls");
    assert!(!lane.push(&window, at(4, "a")));
    let mut fresh = Lane::since(Micros(5));
    assert!(!fresh.push(&window, at(4, "a")) && fresh.is_idle());
}

#[test]
fn only_what_a_later_event_could_need_is_kept() {
    let window = count(9.0);
    let mut lane = lane(&window, times(&[0, 5, 20]));
    assert_eq!(lane.settle(&window, Micros(15)), []);
    assert_eq!(lane.len(), 2, "the one at 5 may still count with one at 15");
    assert_eq!(lane.settle(&window, Micros(31)), []);
    assert!(lane.is_idle() && lane.is_empty());
    let sequence = steps(10, 2, Measure::Sequence);
    let mut lane = super::lane(&sequence, vec![at(0, "a").step(1), at(1, "b"), at(2, "c")]);
    assert_eq!(lane.settle(&sequence, Micros(12)), []);
    assert_eq!(lane.len(), 1);
    assert_eq!(lane.settle(&sequence, Micros(13)), []);
    assert!(lane.is_idle());
}

#[test]
fn entries_beyond_the_limit_are_dropped_and_counted() {
    let window = Window { limit: 2, ..count(3.0) };
    let mut lane = lane(&window, times(&[0, 1, 2]));
    assert_eq!((lane.len(), lane.dropped), (2, 1));
    assert_eq!(lane.settle(&window, end()), []);
    let saved = serde_json::to_string(&lane).expect("text");
    assert_eq!(serde_json::from_str::<Lane>(&saved).expect("a lane"), lane, "also after the end of everything");
}

#[test]
fn two_settled_lanes_do_not_mix() {
    let window = count(2.0);
    let settled = |time, id: &str| {
        let mut lane = lane(&window, vec![at(time, id)]);
        lane.settle(&window, Micros(5));
        lane
    };
    let mut one = settled(3, "a");
    assert_eq!(one.merge(&window, settled(4, "b")), 1, "told as late");
    assert_eq!(one.merge(&window, Lane::since(Micros(5))), 0);
    let mut fresh = Lane::since(Micros(5));
    assert_eq!(fresh.merge(&window, one.clone()), 0);
    assert_eq!(fresh, one);
}

#[test]
fn numbers_are_saved_to_the_last_bit() {
    let window = Window::new(10, Kind::Sliding, Measure::Sum(atleast(1e30)));
    let lane = lane(&window, vec![at(0, "a").number(0.1 + 0.2), at(1, "b").number(f64::MIN_POSITIVE)]);
    let saved = serde_json::to_string(&lane).expect("text");
    assert_eq!(serde_json::from_str::<Lane>(&saved).expect("a lane"), lane);
}

#[test]
fn tuples_tell_their_parts_apart() {
    let tuple = |parts: &[&str]| Value::tuple(&parts.iter().copied().map(Some).collect::<Vec<_>>());
    assert_ne!(tuple(&["a", "b,c"]), tuple(&["a,b", "c"]));
    assert_eq!(tuple(&["a"]), Some(Value::Text("a".to_owned())));
    assert_eq!(Value::tuple(&[Some("a"), None]), None);
    assert_eq!(Value::Number(0.0), Value::Number(-0.0));
}

/// Anything quadratic would take minutes.
#[test]
fn a_hundred_thousand_entries_are_no_burden() {
    let many = |entry: &dyn Fn(i64) -> Entry| (0..100_000).map(|n| entry((n * 7_919) % 100_000)).collect::<Vec<_>>();
    let wide = |measure| Window::new(50_000, Kind::Sliding, measure);
    let numbered = |n: i64| at(n, "x").number(1.0);
    assert_eq!(found(&wide(Measure::Sum(atleast(1e9))), many(&numbered)), []);
    assert_eq!(found(&wide(Measure::Distinct(atleast(1e9))), many(&numbered)), []);
    assert_eq!(found(&wide(Measure::Count(atleast(2.0))), many(&numbered)).len(), 2);
    let starts = |n: i64| at(n, "x").step(u16::from(n == 0));
    assert_eq!(found(&steps(50_000, 2, Measure::Sequence), many(&starts)), []);
    let pairs = |n: i64| at(n, "x").step(u16::from(n % 2 == 1));
    assert_eq!(found(&steps(50_000, 2, Measure::Sequence), many(&pairs)).len(), 50_000);
    assert_eq!(found(&steps(50_000, 2, Measure::Absence { after: 0, of: 1 }), many(&pairs)), []);
}

#[test]
fn settling_often_costs_no_more() {
    let window = Window::new(50_000, Kind::Sliding, Measure::Sum(atleast(1e9)));
    let mut lane = Lane::default();
    for n in 0..50_000 {
        assert!(lane.push(&window, at(n, "x").number(1.0)));
        assert_eq!(lane.settle(&window, Micros(n)), []);
    }
    assert_eq!(lane.len(), 50_000);
}
