//! Channel patterns.

/// A channel pattern: literal text in which each `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether `channel` fits. One pass over `channel` whatever the pattern: each literal piece is
    /// taken at its first place, which leaves most to those after it, so nothing is tried twice.
    pub fn matches(&self, channel: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == channel;
        };
        let Some(mut left) = channel.strip_prefix(head) else {
            return false;
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
            let Some(at) = left.find(piece) else {
                return false;
            };
            left = &left[at + piece.len()..];
        }
        left.ends_with(tail)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The slow twin: by the definition, trying every length for each `*`.
    fn matches_slowly(pattern: &[char], channel: &[char]) -> bool {
        match pattern.split_first() {
            None => channel.is_empty(),
            Some(('*', rest)) => (0..=channel.len()).any(|n| matches_slowly(rest, &channel[n..])),
            Some((first, rest)) => {
                channel.first() == Some(first) && matches_slowly(rest, &channel[1..])
            }
        }
    }

    #[test]
    fn a_pattern_is_literal_but_for_its_stars() {
        let cases = [
            ("news", "news", true),
            ("news", "news2", false),
            ("news", "new", false),
            ("*", "", true),
            ("*", "anything:at/all", true),
            ("public:*", "public:", true),
            ("public:*", "public", false),
            ("*:public", "a:public", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
            ("a.c", "abc", false),
            ("", "", true),
            ("", "a", false),
            ("ü*é", "üxé", true),
        ];
        for (pattern, channel, expected) in cases {
            assert_eq!(
                Pattern(pattern.to_owned()).matches(channel),
                expected,
                "{pattern:?} on {channel:?}"
            );
        }
    }

    #[test]
    fn many_stars_stay_linear() {
        // A backtracking matcher would need more steps than there are atoms.
        let pattern = Pattern("a*".repeat(100) + "b");
        assert!(!pattern.matches(&"a".repeat(255)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_its_slow_twin(pattern in "[ab*]{0,8}", channel in "[ab]{0,10}") {
            let slow = matches_slowly(
                &pattern.chars().collect::<Vec<_>>(),
                &channel.chars().collect::<Vec<_>>(),
            );
            prop_assert_eq!(Pattern(pattern).matches(&channel), slow);
        }
    }
}
