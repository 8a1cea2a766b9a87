//! The lines a process writes, collected while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Lines so far.
#[derive(Debug, Default)]
pub struct Log {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Collects what comes out of `source` on a thread of its own.
    pub fn of(source: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let collected = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { break };
                collected.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                collected.grown.notify_all();
            }
            collected.lock().ended = true;
            collected.grown.notify_all();
        });
        log
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The first line with `text`, waited for; `None` if it does not come in time or at all.
    pub fn wait_for(&self, text: &str) -> Option<String> {
        let find = |state: &State| state.lines.iter().find(|line| line.contains(text)).cloned();
        let state = self.wait_until(|state| state.ended || find(state).is_some());
        find(&state)
    }

    /// All lines, once the source has ended.
    pub fn to_end(&self) -> Vec<String> {
        self.wait_until(|state| state.ended).lines.clone()
    }

    fn wait_until(&self, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        while !holds(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            state = self.grown.wait_timeout(state, left).expect("no panic holds it").0;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }
}
