//! What each plot shows: who asks when, what the limiter makes of it, and how that is drawn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::models::{TokenBucket, fixed_window, sliding_counter, sliding_log, token_bucket};
use super::svg::{Axis, Plot, Style};

/// A plot.
pub(super) struct Scene {
    /// The name of its file.
    pub(super) name: &'static str,
    /// What is said in its place to those who do not see it.
    pub(super) alternative: String,
    pub(super) svg: String,
}

/// All of them.
pub(super) fn scenes() -> Vec<Scene> {
    vec![
        tokens_over_time(),
        border_of_a_window(),
        sliding_windows(),
        herd("herd-fixed", "Every client waits exactly as long as Retry-After says.", |_| 0),
        herd("herd-jittered", "Every client waits as long as Retry-After says and a random time more.", {
            let mut draw = draws();
            move |refusals| draw() % (1000 << refusals.min(2))
        }),
    ]
}

const SECONDS: &str = "time in seconds";

fn scene(name: &'static str, plot: Plot, alternative: String) -> Scene {
    Scene { name, svg: plot.finish(&alternative), alternative }
}

fn seconds(at: u64) -> f64 {
    f64::from(u32::try_from(at).unwrap()) / 1000.0
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// A client sends 25 requests at once, waits, and sends ten.
fn tokens_over_time() -> Scene {
    let bucket = TokenBucket::new(10, 1, 20);
    let (mut line, mut notes) = (Vec::new(), Vec::new());
    let mut said = String::new();
    for at in (0..=4000).step_by(50) {
        let before = (seconds(at), bucket.tokens(at));
        line.push(before);
        let requests = match at {
            500 => 25,
            2000 => 10,
            _ => continue,
        };
        let admitted = (0..requests).filter(|_| bucket.take(at).is_ok()).count();
        let refused = requests - admitted;
        line.push((seconds(at), bucket.tokens(at)));
        said += &format!(
            " At {:.1} s {requests} requests come at once: {admitted} are admitted, {refused} refused.",
            seconds(at)
        );
        notes.push((before, format!("{requests} come, {admitted} pass")));
    }
    let full_again = line.iter().rev().take_while(|(_, tokens)| *tokens >= 20.0).last().unwrap().0;
    let x = Axis { label: SECONDS, max: 4, step: 1 };
    let y = Axis { label: "tokens in the bucket", max: 25, step: 5 };
    let mut plot = Plot::new(x, y).line(Style::Blue, "tokens, at rate 10/s and burst 20", &line);
    for (point, outcome) in &notes {
        plot = plot.note(*point, outcome);
    }
    let alternative = format!(
        "The tokens in a bucket with rate 10/s and burst 20.{said} Otherwise the line rises by 10 tokens a second, and at {full_again:.1} s the bucket is full again."
    );
    scene("tokens", plot, alternative)
}

/// How many requests of those at these times have been admitted, as a line of steps.
fn admitted(requests: &[u64], until: u64, mut admits: impl FnMut(u64) -> bool) -> Vec<(f64, f64)> {
    let (mut line, mut count) = (vec![(0.0, 0.0)], 0);
    for &at in requests {
        line.push((seconds(at), number(count)));
        count += usize::from(admits(at));
        line.push((seconds(at), number(count)));
    }
    line.push((seconds(until), number(count)));
    line
}

/// The most requests that a line of steps has in a span of so many seconds.
fn most_within(line: &[(f64, f64)], span: f64) -> f64 {
    let rises = |from: f64, count: f64| {
        let last = line.iter().rev().find(|(at, _)| *at <= from + span);
        last.map_or(0.0, |(_, then)| then - count)
    };
    line.iter().map(|&(from, count)| rises(from, count)).fold(0.0, f64::max)
}

/// Ten requests just before a window of the clock ends, and ten just after.
fn border_of_a_window() -> Scene {
    let requests: Vec<u64> = [9500, 10_500, 19_500, 20_500].iter().flat_map(|at| [*at; 10]).collect();
    let window = admitted(&requests, 25_000, fixed_window(10, 10));
    let bucket = admitted(&requests, 25_000, token_bucket(10, 10, 10));
    let most = [&window, &bucket].map(|line| most_within(line, 1.0));
    let x = Axis { label: "time in seconds; the windows change at 10 and 20", max: 25, step: 5 };
    let y = Axis { label: "requests admitted so far", max: 35, step: 5 };
    let plot = Plot::new(x, y).line(Style::Orange, "fixed window, 10 in each 10 s", &window).line(
        Style::Blue,
        "token bucket, 10 in 10 s, burst 10",
        &bucket,
    );
    let alternative = format!(
        "Requests admitted so far, of a client that sends ten at 9.5, 10.5, 19.5 and 20.5 seconds. The fixed window admits up to {} within one second, the token bucket up to {}.",
        most[0], most[1]
    );
    scene("fixed-window", plot, alternative)
}

/// A client that asks twice as often as it may, for half a minute.
fn sliding_windows() -> Scene {
    let requests: Vec<u64> = (0..60).map(|turn| turn * 500).collect();
    let log = admitted(&requests, 30_000, sliding_log(10, 10));
    let counter = admitted(&requests, 30_000, sliding_counter(10, 10));
    let bucket = admitted(&requests, 30_000, token_bucket(10, 10, 10));
    // A span of ten seconds does not have both its ends.
    let most = [&log, &counter, &bucket].map(|line| most_within(line, 9.999));
    let longest = [&log, &counter, &bucket].map(|line| {
        let rises = line.windows(2).filter(|pair| pair[0].1 < pair[1].1).map(|pair| pair[0].0);
        let rises: Vec<_> = rises.collect();
        rises.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    });
    let x = Axis { label: SECONDS, max: 30, step: 5 };
    let y = Axis { label: "requests admitted so far", max: 45, step: 5 };
    let plot = Plot::new(x, y)
        .line(Style::Orange, "sliding log", &log)
        .line(Style::Green, "sliding counter", &counter)
        .line(Style::Blue, "token bucket, burst 10", &bucket);
    let alternative = format!(
        "Requests admitted so far, of a client that asks every half second and may have 10 in 10 seconds. The sliding log admits at most {} in any 10 seconds and then nothing for up to {} s; the sliding counter {} and {} s; the token bucket {} and {} s.",
        most[0], longest[0], most[1], longest[1], most[2], longest[2]
    );
    scene("sliding-window", plot, alternative)
}

/// Numbers that look random and are the same each time (SplitMix64).
fn draws() -> impl FnMut() -> u64 {
    let mut state = 0_u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A thousand clients that share a bucket and all ask at the start. Who is refused waits for as long as `Retry-After` says, and for
/// `extra` milliseconds more, which may go by how often it has been refused.
fn herd(name: &'static str, how: &str, mut extra: impl FnMut(u32) -> u64) -> Scene {
    const BAR: u64 = 250;
    const END: u64 = 16_000;
    let bucket = TokenBucket::new(100, 1, 100);
    let mut coming: BinaryHeap<_> = (0..1000).map(|client| Reverse((0, client, 0))).collect();
    let mut counts = vec![(0_usize, 0_usize); usize::try_from(END / BAR).unwrap()];
    let mut last = 0;
    while let Some(Reverse((at, client, refusals))) = coming.pop() {
        let count = &mut counts[usize::try_from(at / BAR).unwrap()];
        match bucket.take(at) {
            Ok(()) => (count.0, last) = (count.0 + 1, at),
            Err(wait) => {
                count.1 += 1;
                let retry_after = 1000 * (wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
                coming.push(Reverse((at + retry_after + extra(refusals), client, refusals + 1)));
            }
        }
    }
    let refused: usize = counts.iter().map(|count| count.1).sum();
    let most = counts.iter().skip(1).map(|count| count.0 + count.1).max().unwrap();
    let begins = |bar: usize| seconds(BAR) * number(bar);
    let bars = counts.iter().enumerate();
    let admitted: Vec<_> = bars.clone().map(|(bar, count)| (begins(bar), 0.0, number(count.0))).collect();
    let refused_bars: Vec<_> =
        bars.map(|(bar, count)| (begins(bar), number(count.0), number(count.0 + count.1))).collect();
    let x = Axis { label: SECONDS, max: 16, step: 2 };
    let y = Axis { label: "requests in a quarter of a second", max: 1000, step: 200 };
    let plot = Plot::new(x, y).bars(Style::Blue, "admitted", seconds(BAR), &admitted).bars(
        Style::Orange,
        "refused",
        seconds(BAR),
        &refused_bars,
    );
    let alternative = format!(
        "A thousand clients ask at once where 100 a second are admitted. {how} Refusals in all: {refused}. After the start, the most requests in a quarter of a second: {most}. The last client is admitted after {:.1} s.",
        seconds(last)
    );
    scene(name, plot, alternative)
}
