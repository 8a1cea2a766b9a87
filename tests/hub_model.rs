//! Three hubs together against a plain model, equal after each of thousands of steps: members,
//! joins, interest, history and presence; every subscriber has all it was promised, in order.
//!
//! `TIDEGATE_HUB_STEPS` makes the run longer, `TIDEGATE_FUZZ_SEED` takes a failed one up again.

mod hubs;

use hubs::World;

#[test]
fn hubs_do_together_what_the_model_does() {
    let number =
        |variable: &str| std::env::var(variable).ok().map(|text| text.parse().expect(variable));
    let seed = number("TIDEGATE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = number("TIDEGATE_HUB_STEPS").unwrap_or(50_000);
    eprintln!("TIDEGATE_FUZZ_SEED={seed}");
    let mut world = World::new(seed);
    for step in 1..=steps {
        world.step();
        world.check();
        if step.is_multiple_of(2_000) {
            world.quiesce();
        }
    }
    eprintln!("hub {steps}: {:?}", world.counts);
    for what in
        ["answer", "history", "join", "leave", "publish", "refusal", "subscribe", "unsubscribe"]
    {
        assert!(world.counts.contains_key(what), "{what} never happened");
    }
}
