//! Patterns that name channels.

/// A list of patterns: literal text in which each `*` stands for any run of characters, the empty
/// one included. A list without patterns fits nothing.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Box<[Box<str>]>);

impl Patterns {
    /// The list of `patterns`.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(patterns.into_iter().map(Box::from).collect())
    }

    /// Whether `channel` fits one of them.
    pub fn fit(&self, channel: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, channel))
    }
}

/// Whether `channel` fits `pattern`. The first piece is at the start, the last one at the end, and
/// each between is taken where it is found first, which leaves most room for the rest: no
/// backtracking, so the time is bounded by the product of both lengths.
fn fits(pattern: &str, channel: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == channel;
    };
    let Some(mut channel) = channel.strip_prefix(first) else {
        return false;
    };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in between.split('*') {
        match channel.find(piece) {
            Some(at) => channel = &channel[at + piece.len()..],
            None => return false,
        }
    }
    channel.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain twin: every way to spend the stars.
    fn fits_slowly(pattern: &[u8], channel: &[u8]) -> bool {
        match pattern {
            [] => channel.is_empty(),
            [b'*', rest @ ..] => {
                (0..=channel.len()).any(|skip| fits_slowly(rest, &channel[skip..]))
            }
            [byte, rest @ ..] => channel.first() == Some(byte) && fits_slowly(rest, &channel[1..]),
        }
    }

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, channel, fit) in [
            ("*", "", true),
            ("*", "a:b", true),
            ("news", "news", true),
            ("news", "newsy", false),
            ("news*", "news", true),
            ("*news", "old news", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("user:*:inbox", "user:1:inbox", true),
            ("user:*:inbox", "user:1:outbox", false),
            ("", "", true),
            ("", "a", false),
            ("**", "x", true),
            ("\u{e4}*", "\u{e4}\u{f6}", true),
            ("[a]", "a", false),
            ("?", "a", false),
        ] {
            assert_eq!(fits(pattern, channel), fit, "{pattern} {channel}");
        }
    }

    #[test]
    fn agrees_with_its_plain_twin() {
        let texts = |letters: &[u8], max: u32| -> Vec<String> {
            let base = letters.len();
            (0..=max)
                .flat_map(|len| (0..base.pow(len)).map(move |n| (len, n)))
                .map(|(len, mut n)| {
                    let mut letter = || {
                        let letter = letters[n % base];
                        n /= base;
                        char::from(letter)
                    };
                    (0..len).map(|_| letter()).collect()
                })
                .collect()
        };
        for pattern in texts(b"ab*", 5) {
            for channel in texts(b"ab", 5) {
                let slow = fits_slowly(pattern.as_bytes(), channel.as_bytes());
                assert_eq!(fits(&pattern, &channel), slow, "{pattern} {channel}");
            }
        }
    }

    #[test]
    fn a_list_fits_if_one_pattern_does() {
        assert!(!Patterns::default().fit("a"));
        let list = Patterns::new(["a", "b*"]);
        assert!(list.fit("a") && list.fit("bc") && !list.fit("c"));
    }
}
