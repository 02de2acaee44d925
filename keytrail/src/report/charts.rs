//! Bars: findings over time, and one bar split by severity.

use keytrail_model::{Finding, Micros, Severity};

use super::escape::Html;
use super::written::{counted, moment, number};

const HOUR: i64 = 3_600 * Micros::SECOND;
/// Bucket widths that people think in, in hours; the last ones for logs with absurd times.
const WIDTHS: [i64; 13] = [1, 3, 6, 12, 24, 48, 168, 720, 2_160, 8_760, 87_600, 876_000, 8_760_000];
const MOST_BUCKETS: i64 = 48;
const LEAST_BUCKETS: i64 = 12;

const PLOT: (f64, f64) = (960.0, 150.0);
const LEFT: f64 = 34.0;
const TOP: f64 = 10.0;

/// One bar, split in the order critical to informational.
pub(super) fn severities(html: &mut Html, counts: &[u64; 5]) {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return;
    }
    html.put("<span class=\"split\" aria-hidden=\"true\">", &[]);
    for (severity, count) in Severity::ALL.into_iter().zip(counts).rev() {
        if *count > 0 {
            html.put("<i class=\"{}\" style=\"flex-grow:{}\"></i>", &[&severity, count]);
        }
    }
    html.put("</span>", &[]);
}

/// How many findings of each severity were first seen in each stretch of time.
struct Timeline {
    start: i64,
    width: i64,
    buckets: Vec<[u64; 5]>,
}

impl Timeline {
    fn new(findings: &[&Finding]) -> Option<Self> {
        let first = findings.iter().map(|finding| finding.first_seen.0).min()?;
        let last = findings.iter().map(|finding| finding.first_seen.0).max()?;
        let fits = |width: &i64| last.div_euclid(*width) - first.div_euclid(*width) < MOST_BUCKETS;
        let width = WIDTHS.map(|hours| hours * HOUR).into_iter().find(fits).unwrap_or(8_760_000 * HOUR);
        let used = last.div_euclid(width) - first.div_euclid(width) + 1;
        let before = (LEAST_BUCKETS - used).max(0) / 2;
        let start = (first.div_euclid(width) - before).saturating_mul(width);
        let mut buckets = vec![[0; 5]; usize::try_from(used.max(LEAST_BUCKETS)).ok()?];
        for finding in findings {
            let index = usize::try_from(finding.first_seen.0.saturating_sub(start).div_euclid(width)).ok()?;
            if let Some(count) = buckets.get_mut(index).and_then(|bucket| bucket.get_mut(finding.severity as usize)) {
                *count += 1;
            }
        }
        Some(Self { start, width, buckets })
    }

    fn at(&self, index: usize) -> Micros {
        Micros(self.start.saturating_add(self.width.saturating_mul(i64::try_from(index).unwrap_or(0))))
    }

    fn label(&self, index: usize) -> String {
        let text = moment(self.at(index));
        let cut = if self.width >= 24 * HOUR { text.get(..10) } else { text.get(5..16) };
        cut.unwrap_or(&text).to_owned()
    }

    fn tallest(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.iter().sum()).max().unwrap_or(0).max(1)
    }
}

pub(super) fn over_time(html: &mut Html, findings: &[&Finding]) {
    let Some(timeline) = Timeline::new(findings) else { return };
    let width = match timeline.width / HOUR {
        hours @ ..24 => counted(hours.unsigned_abs(), "hour"),
        hours => counted((hours / 24).unsigned_abs(), "day"),
    };
    html.put(
        "<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Chart: findings over time\">",
        &[],
    );
    html.put(
        "<svg class=\"chart\" viewBox=\"0 0 1000 190\" role=\"img\" aria-label=\"{} by first event, one bar for {}\">",
        &[&counted(findings.len() as u64, "finding"), &width],
    );
    axis(html, &timeline);
    for index in 0..timeline.buckets.len() {
        bar(html, &timeline, index);
    }
    html.put("</svg></div><figcaption>By time of the first event; one bar is {}.</figcaption></figure>", &[&width]);
}

fn axis(html: &mut Html, timeline: &Timeline) {
    let tallest = timeline.tallest();
    let marks = if tallest.is_multiple_of(2) { vec![0, tallest / 2, tallest] } else { vec![0, tallest] };
    for value in marks {
        let y = height_at(value, tallest);
        html.put("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", &[&LEFT, &(LEFT + PLOT.0), &y, &y]);
        html.put(
            "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            &[&(LEFT - 6.0), &(y + 4.0), &number(value)],
        );
    }
    let every = timeline.buckets.len().div_ceil(8);
    for index in (0..timeline.buckets.len()).step_by(every) {
        let x = LEFT + (index as f64 + 0.5) * slot(timeline);
        let label = timeline.label(index);
        html.put("<text class=\"tick\" x=\"{}\" y=\"182\" text-anchor=\"middle\">{}</text>", &[&round(x), &label]);
    }
}

fn bar(html: &mut Html, timeline: &Timeline, index: usize) {
    let Some(bucket) = timeline.buckets.get(index).filter(|bucket| bucket.iter().sum::<u64>() > 0) else { return };
    let (slot, tallest) = (slot(timeline), timeline.tallest());
    let mut below = 0;
    html.put("<g><title>{}: ", &[&timeline.label(index)]);
    let parts = Severity::ALL.into_iter().zip(bucket).filter(|(_, count)| **count > 0);
    let words: Vec<_> = parts.clone().rev().map(|(severity, count)| format!("{count} {severity}")).collect();
    html.put("{}</title>", &[&words.join(", ")]);
    for (severity, count) in parts {
        let (bottom, top) = (height_at(below, tallest), height_at(below + count, tallest));
        below += count;
        html.put(
            "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            &[
                &severity,
                &round(LEFT + index as f64 * slot + slot * 0.14),
                &round(top),
                &round(slot * 0.72),
                &round(bottom - top),
            ],
        );
    }
    html.put("</g>", &[]);
}

fn slot(timeline: &Timeline) -> f64 {
    PLOT.0 / timeline.buckets.len().max(1) as f64
}

fn height_at(value: u64, tallest: u64) -> f64 {
    round(TOP + PLOT.1 * (1.0 - value as f64 / tallest as f64))
}

/// A tenth of a unit is finer than a pixel.
pub(super) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
