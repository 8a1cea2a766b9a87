//! What `/metrics` says, to be asked.

use std::fmt;

/// Gauges that are 0 when no client is connected.
pub const CLIENT_GAUGES: [&str; 5] = [
    "tidegate_connections",
    "tidegate_connections_reserved",
    "tidegate_subscriptions",
    "tidegate_outbox_bytes",
    "tidegate_handshakes_open",
];

/// One scrape.
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// Reads the text format.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            (series.to_owned(), value.parse().expect("a number"))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).map(sample).collect())
    }

    /// The sum over all label values.
    pub fn sum(&self, name: &str) -> u64 {
        let mut found = false;
        let sum: f64 = self
            .0
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .inspect(|_| found = true)
            .map(|(_, value)| value)
            .sum();
        assert!(found, "there is no metric {name}");
        sum as u64
    }

    /// The sum over all series of `name` that carry `label`, such as `code="1000"`.
    pub fn sum_with(&self, name: &str, label: &str) -> u64 {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let wanted = self.0.iter().filter(|(series, _)| of_name(series) && series.contains(label));
        wanted.map(|(_, value)| value).sum::<f64>() as u64
    }

    /// The values of a family by its series, such as one a shard.
    pub fn values(&self, name: &str) -> Vec<u64> {
        let of_name = self.0.iter().filter(|(series, _)| series.split('{').next() == Some(name));
        of_name.map(|(_, value)| *value as u64).collect()
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told =
            self.0.iter().filter(|(series, value)| *value != 0.0 && !series.contains("_bucket"));
        told.into_iter().try_for_each(|(series, value)| writeln!(f, "{series} {value}"))
    }
}
