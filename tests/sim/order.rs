//! The order of one channel's publications, pieced together from what clients saw of it.
//!
//! Nobody tells the oracle that order. It knows that what one subscription received stands side by
//! side, and where a position was told, that a publication stands at it. Each such word ties two
//! things together at a distance; a word that contradicts the earlier ones is a publication that
//! was lost, came twice, or came out of order.

use std::collections::BTreeMap;

/// Something that has a place in the order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// The beginning of one life of the stream: offset 0.
    Epoch(String),
    /// A publication, by number.
    Publication(u32),
}

/// What is known of the order.
#[derive(Default)]
pub(crate) struct Order {
    nodes: BTreeMap<Thing, usize>,
    things: Vec<Thing>,
    /// By node: the group it belongs to and its place there.
    places: Vec<(usize, i64)>,
    /// By group: who stands where.
    groups: Vec<BTreeMap<i64, usize>>,
}

impl Order {
    /// Notes that `second` stands `distance` behind `first`.
    ///
    /// # Errors
    /// It cannot, by what is known.
    pub(crate) fn relate(
        &mut self,
        first: &Thing,
        distance: i64,
        second: &Thing,
    ) -> Result<(), String> {
        let (a, b) = (self.node(first), self.node(second));
        let ((group_a, place_a), (group_b, place_b)) = (self.places[a], self.places[b]);
        if group_a == group_b {
            if place_b - place_a == distance {
                return Ok(());
            }
            let known = place_b - place_a;
            return Err(format!(
                "{second:?} is {distance} behind {first:?}, and was {known} behind"
            ));
        }
        // Places of the second group move by this much to become places of the first.
        let shift = place_a + distance - place_b;
        let (keep, join, shift) = if self.groups[group_a].len() >= self.groups[group_b].len() {
            (group_a, group_b, shift)
        } else {
            (group_b, group_a, -shift)
        };
        for (place, node) in std::mem::take(&mut self.groups[join]) {
            let place = place + shift;
            self.places[node] = (keep, place);
            if let Some(other) = self.groups[keep].insert(place, node) {
                let (one, other) = (&self.things[node], &self.things[other]);
                return Err(format!("{one:?} and {other:?} stand at one place"));
            }
        }
        Ok(())
    }

    /// By how much `second` is behind `first`, if anything ties them together.
    pub(crate) fn distance(&self, first: &Thing, second: &Thing) -> Option<i64> {
        let (group_a, place_a) = self.places[*self.nodes.get(first)?];
        let (group_b, place_b) = self.places[*self.nodes.get(second)?];
        (group_a == group_b).then_some(place_b - place_a)
    }

    fn node(&mut self, thing: &Thing) -> usize {
        if let Some(node) = self.nodes.get(thing) {
            return *node;
        }
        let node = self.things.len();
        self.nodes.insert(thing.clone(), node);
        self.things.push(thing.clone());
        self.places.push((self.groups.len(), 0));
        self.groups.push(BTreeMap::from([(0, node)]));
        node
    }
}

#[test]
fn words_that_agree_are_taken_and_others_refused() {
    let epoch = || Thing::Epoch("e".into());
    let publication = Thing::Publication;
    let mut order = Order::default();
    // Two subscriptions saw 1, 2, 3 and 3, 4; then a position ties both to the stream.
    for (first, distance, second) in [
        (publication(1), 1, publication(2)),
        (publication(2), 1, publication(3)),
        (publication(3), 1, publication(4)),
        (epoch(), 7, publication(2)),
        (epoch(), 9, publication(4)),
    ] {
        assert_eq!(order.relate(&first, distance, &second), Ok(()));
    }
    assert_eq!(order.distance(&epoch(), &publication(1)), Some(6));
    assert_eq!(order.distance(&epoch(), &publication(9)), None);
    let lost = order.relate(&publication(1), 1, &publication(3));
    assert!(lost.is_err(), "one in between was lost");
    assert!(order.relate(&publication(2), 1, &publication(1)).is_err(), "out of order");
    assert!(order.relate(&publication(2), 1, &publication(2)).is_err(), "twice");
    assert!(order.relate(&epoch(), 8, &publication(5)).is_err(), "two at one place");
}
