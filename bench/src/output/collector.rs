//! Adds up what the generators hand over: the whole run, and a line of figures for each second.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::hlog::Log;
use super::meter::{INTERVAL_NS, Part};
use super::progress::Progress;
use super::{FileError, Meter, OutputArgs};
use crate::server::Usage;
use crate::tally::Tally;
use crate::traffic::Window;

/// The figures of one second. Latencies are microseconds and count from when a message was due;
/// the field names are those of the JSON form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Its start, in seconds since the measuring began.
    pub(crate) at_s: f64,
    /// Its length in seconds; the last one may be shorter than the others.
    pub(crate) length_s: f64,
    /// Messages sent, or handshakes started.
    pub(crate) sent: u64,
    /// Messages received, or handshakes done, a second.
    pub(crate) rate: f64,
    /// Of what was received.
    pub(crate) latency_us: Option<SampleLatency>,
    /// What the server used of one core; absent in the last second, whose end is not that of the
    /// load.
    pub(crate) server_cpu_percent: Option<f64>,
    /// Its resident memory at the end of the second.
    pub(crate) server_rss_bytes: Option<u64>,
}

/// Latencies of one second, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleLatency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Collected {
    /// The whole run.
    pub(crate) tally: Tally,
    /// Its seconds.
    pub(crate) samples: Vec<Sample>,
}

/// Takes what the meters hand over. Runs on a thread of its own.
#[derive(Debug)]
pub(crate) struct Collector {
    window: Window,
    parts: Receiver<Part>,
    spares: Vec<Sender<Tally>>,
    /// The next interval of each thread; one that has handed over its last has `u64::MAX`.
    next: Vec<u64>,
    /// When the last of the threads that have ended did so.
    end_ns: u64,
    /// Intervals that not all threads have handed over, the first of them `samples.len()`.
    open: VecDeque<Tally>,
    progress: Progress,
    /// Connections that were open at the start.
    opened: u32,
    log: Option<Log>,
    server_pid: Option<u32>,
    /// The server when the last interval ended, and when it was read.
    server: Option<(Instant, Usage)>,
    whole: Tally,
    samples: Vec<Sample>,
}

/// One meter for each of `thread_count` generators, and what adds up their counts.
///
/// # Errors
/// The interval log cannot be written.
pub(crate) fn collect(
    args: &OutputArgs,
    window: Window,
    thread_count: u16,
    server_pid: Option<u32>,
) -> Result<(Vec<Meter>, Collector), FileError> {
    let (sender, parts) = mpsc::channel();
    let (spares, meters) = (0..thread_count)
        .map(|thread| {
            let (spare, spares) = mpsc::channel();
            (spare, Meter::new(thread, window, sender.clone(), spares))
        })
        .unzip();
    let collector = Collector {
        window,
        parts,
        spares,
        next: vec![0; thread_count.into()],
        end_ns: 0,
        open: VecDeque::new(),
        progress: Progress::new(args),
        opened: 0,
        log: args.hlog.as_deref().map(Log::create).transpose()?,
        server_pid,
        server: None,
        whole: Tally::new(),
        samples: Vec::new(),
    };
    Ok((meters, collector))
}

impl Collector {
    /// Adds up until every meter is gone. `opened` of `asked` connections are open; the measuring
    /// begins at `start`.
    ///
    /// # Errors
    /// The interval log cannot be written.
    pub(crate) fn run(
        mut self,
        opened: u32,
        asked: u32,
        start: SystemTime,
    ) -> Result<Collected, FileError> {
        self.progress.begin(opened, asked);
        self.opened = opened;
        self.run_unopened(start)
    }

    /// The same where opening the connections is what is measured.
    pub(crate) fn run_unopened(mut self, start: SystemTime) -> Result<Collected, FileError> {
        if let Some(log) = &mut self.log {
            log.begin(start)?;
        }
        for spare in &self.spares {
            // Without a spare a meter makes its own.
            let _ = spare.send(Tally::new());
        }
        while let Ok(part) = self.parts.recv() {
            self.take(part)?;
        }
        // A thread that failed has not handed over everything.
        while !self.open.is_empty() {
            self.close_first()?;
        }
        self.progress.end();
        if let Some(log) = self.log {
            log.finish()?;
        }
        Ok(Collected { tally: self.whole, samples: self.samples })
    }

    fn take(&mut self, part: Part) -> Result<(), FileError> {
        let thread = usize::from(part.thread);
        let Some(interval) = part.interval else {
            self.whole.merge(&part.tally);
            self.server = self.read_server();
            return Ok(());
        };
        let _ = self.spares[thread].send(Tally::new());
        let index = interval - self.samples.len() as u64;
        while self.open.len() as u64 <= index {
            self.open.push_back(Tally::new());
        }
        self.open[index as usize].merge(&part.tally);
        self.next[thread] = if part.end_ns.is_some() { u64::MAX } else { interval + 1 };
        self.end_ns = self.end_ns.max(part.end_ns.unwrap_or(0));
        let complete = self.next.iter().copied().min().unwrap_or(u64::MAX);
        while !self.open.is_empty() && (self.samples.len() as u64) < complete {
            self.close_first()?;
        }
        Ok(())
    }

    fn read_server(&self) -> Option<(Instant, Usage)> {
        Some((Instant::now(), Usage::of(self.server_pid?)?))
    }

    /// All threads have handed over the first open interval.
    fn close_first(&mut self) -> Result<(), FileError> {
        let Some(tally) = self.open.pop_front() else { return Ok(()) };
        let start_ns = self.samples.len() as u64 * INTERVAL_NS;
        let is_last = self.open.is_empty() && self.next.iter().all(|next| *next == u64::MAX);
        let end_ns = if is_last { self.end_ns } else { self.window.end_ns };
        // A thread may end with a second; what is counted in no time would have no rate.
        let length_ns = (end_ns - self.window.start_ns - start_ns).clamp(1, INTERVAL_NS);
        self.whole.merge(&tally);
        let mut sample = Sample::of(start_ns, length_ns, &tally);
        let before = self.server.take();
        self.server = if is_last { None } else { self.read_server() };
        if let (Some((then, before)), Some((now, after))) = (before, self.server) {
            let cpu_ns = after.cpu_ns.saturating_sub(before.cpu_ns) as f64;
            sample.server_cpu_percent = Some(100.0 * cpu_ns / (now - then).as_nanos() as f64);
            sample.server_rss_bytes = Some(after.rss_bytes);
        }
        self.progress.show(self.opened, &sample, &self.whole);
        if let Some(log) = &mut self.log {
            let (start, length) = (Duration::from_nanos(start_ns), Duration::from_nanos(length_ns));
            log.add(start, length, &tally)?;
        }
        self.samples.push(sample);
        Ok(())
    }
}

impl Sample {
    /// What was counted; of the server it knows nothing.
    fn of(start_ns: u64, length_ns: u64, tally: &Tally) -> Self {
        let histogram = &tally.latency;
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let latency_us = (!histogram.is_empty()).then(|| SampleLatency {
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        });
        let length_s = length_ns as f64 / 1e9;
        Self {
            at_s: start_ns as f64 / 1e9,
            length_s,
            sent: tally.sent + tally.started,
            rate: tally.received_in_window as f64 / length_s,
            latency_us,
            server_cpu_percent: None,
            server_rss_bytes: None,
        }
    }
}
