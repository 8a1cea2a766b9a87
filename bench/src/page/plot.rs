//! Line plots as SVG, drawn by hand: colours and letters follow the page's style sheet, so that
//! they fit a phone and a dark screen, which a plotting library's fixed styles do not.

use std::fmt::Write;

/// Size of a plot, in units of its view box; the page scales it.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 290.0;

/// Room for the labels around the drawing.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// Room above the drawing of an image, where its title and key stand, and where in it they do.
const HEAD: f64 = 48.0;
const TITLE_BASELINE: f64 = 22.0;
const KEY_BASELINE: f64 = 42.0;
const KEY_WIDTH: f64 = 110.0;
const KEY_LINE: f64 = 22.0;

/// A line of a plot.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    /// Its class in the style sheet, such as `first`.
    pub(super) class: &'static str,
    /// Points in the axes' own units, in the order they are joined.
    pub(super) points: Vec<(f64, f64)>,
    pub(super) shape: Shape,
}

/// How the points of a series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Joined.
    Line,
    /// Each by itself.
    Dots,
}

impl Series {
    /// Points that are joined.
    pub(super) fn line(name: &'static str, class: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self { name, class, points, shape: Shape::Line }
    }

    /// Points by themselves.
    pub(super) fn dots(name: &'static str, class: &'static str, points: Vec<(f64, f64)>) -> Self {
        Self { name, class, points, shape: Shape::Dots }
    }
}

/// One axis.
#[derive(Debug)]
pub(super) struct Axis {
    /// Values at its ends.
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) is_log: bool,
    /// Where lines and labels stand.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) title: &'static str,
}

impl Axis {
    /// From zero to at least `top`, with round steps; `label` writes a value.
    pub(super) fn linear(top: f64, title: &'static str, label: impl Fn(f64) -> String) -> Self {
        let step = round_up(top / 5.0);
        let count = (top / step).ceil().max(1.0) as u32;
        let ticks: Vec<_> = (0..=count)
            .map(|index| f64::from(index) * step)
            .map(|value| (value, label(value)))
            .collect();
        Self { from: 0.0, to: f64::from(count) * step, is_log: false, ticks, title }
    }

    /// A logarithmic axis around `values`, which are above zero.
    pub(super) fn log(
        values: impl Iterator<Item = f64>,
        title: &'static str,
        label: impl Fn(f64) -> String,
    ) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), v| (low.min(v), high.max(v)));
        let low = low.min(high);
        let wide = high / low > 500.0;
        let mantissas: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = low.log10().floor() as i32;
        let steps: Vec<f64> = (first..=first + 20)
            .flat_map(|exponent| mantissas.iter().map(move |m| m * 10f64.powi(exponent)))
            .collect();
        // Rounding must not take a value that is a step for one just off it.
        let from = steps.iter().rposition(|step| *step <= low * 1.000_001).unwrap_or(0);
        let to = steps.iter().position(|step| *step >= high * 0.999_999 && *step > steps[from]);
        let to = to.unwrap_or(steps.len() - 1);
        Self {
            from: steps[from],
            to: steps[to],
            is_log: true,
            ticks: steps[from..=to].iter().map(|value| (*value, label(*value))).collect(),
            title,
        }
    }

    /// Where `value` lies: 0 at the beginning of the axis, 1 at its end.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }
}

/// The plot with its title and key. `about` says in a sentence what is to be seen.
pub(super) fn figure(title: &str, about: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut out = String::new();
    write_figure(&mut out, title, about, x, y, series).expect("writing to a string does not fail");
    out
}

fn write_figure(
    out: &mut String,
    title: &str,
    about: &str,
    x: &Axis,
    y: &Axis,
    series: &[Series],
) -> std::fmt::Result {
    write!(out, "<figure><figcaption><h2>{title}</h2>")?;
    for Series { name, class, shape, .. } in series {
        let dot = if *shape == Shape::Dots { " dot" } else { "" };
        write!(out, "<span class=\"key {class}{dot}\">{name}</span>")?;
    }
    write!(
        out,
        "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}. {about}\">"
    )?;
    write_drawing(out, x, y, series)?;
    writeln!(out, "</svg></figure>")
}

/// The plot as an image of its own, title and key in it, in colours that suit light and dark.
pub(super) fn image(title: &str, about: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let mut out = String::new();
    write_image(&mut out, title, about, x, y, series).expect("writing to a string does not fail");
    out
}

fn write_image(
    out: &mut String,
    title: &str,
    about: &str,
    x: &Axis,
    y: &Axis,
    series: &[Series],
) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 {top} {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{title}. {about}\">\n<style>\n{style}</style>\n\
         <rect class=\"paper\" y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"{title_y}\">{title}</text>",
        top = -HEAD,
        height = HEIGHT + HEAD,
        style = include_str!("image.css"),
        title_y = TITLE_BASELINE - HEAD,
    )?;
    for (index, Series { name, class, .. }) in (0u8..).zip(series) {
        let (key_x, key_y) = (LEFT + KEY_WIDTH * f64::from(index), KEY_BASELINE - HEAD);
        write!(
            out,
            "<path class=\"key {class}\" d=\"M{key_x} {:.1}h{KEY_LINE}\"/>\
             <text x=\"{:.1}\" y=\"{key_y:.1}\">{name}</text>",
            key_y - 4.0,
            key_x + KEY_LINE + 6.0,
        )?;
    }
    write_drawing(out, x, y, series)?;
    writeln!(out, "</svg>")
}

/// Axes and lines.
fn write_drawing(out: &mut String, x: &Axis, y: &Axis, series: &[Series]) -> std::fmt::Result {
    write_axes(out, x, y)?;
    for Series { class, points, shape, .. } in series {
        if *shape == Shape::Dots || points.len() == 1 {
            for (px, py) in points {
                let (cx, cy) = (across(x, *px), up(y, *py));
                write!(out, "<circle class=\"{class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\"/>")?;
            }
            continue;
        }
        write!(out, "<polyline class=\"{class}\" points=\"")?;
        for (px, py) in points {
            write!(out, "{:.1},{:.1} ", across(x, *px), up(y, *py))?;
        }
        write!(out, "\"/>")?;
    }
    Ok(())
}

fn write_axes(out: &mut String, x: &Axis, y: &Axis) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, label) in &y.ticks {
        let at = up(y, *value);
        write!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        )?;
    }
    for (value, label) in &x.ticks {
        let at = across(x, *value);
        write!(
            out,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        )?;
    }
    write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 6.0,
        x.title
    )
}

fn across(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)
}

fn up(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)
}

/// The next of 1, 2, 5, 10 and so on that is not below `value`.
fn round_up(value: f64) -> f64 {
    let value = value.max(1e-9);
    let decade = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|mantissa| mantissa * decade)
        .find(|step| *step >= value * 0.999_999)
        .unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|(value, _)| (value * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn axes_hold_their_values_between_round_ends() {
        let label = |value: f64| value.to_string();
        let axis = Axis::linear(950.0, "", label);
        assert_eq!(values(&axis), [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert_eq!(values(&Axis::linear(0.0, "", label)).len(), 2);
        let axis = Axis::log([30.0, 70.0].into_iter(), "", label);
        assert_eq!(values(&axis), [20.0, 50.0, 100.0]);
        let axis = Axis::log([1.0, 90_000.0].into_iter(), "", label);
        assert_eq!(values(&axis), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        // One value, a step itself; and none at all.
        assert_eq!(values(&Axis::log([100.0].into_iter(), "", label)), [100.0, 200.0]);
        let none = Axis::log([0.0].into_iter(), "", label);
        assert!(none.from < none.to);
        assert!(none.place(0.0) >= 0.0);
    }

    #[test]
    fn places_are_proportional() {
        let linear = Axis::linear(1000.0, "", |_| String::new());
        assert_eq!([0.0, 250.0, 2000.0].map(|value| linear.place(value)), [0.0, 0.25, 1.0]);
        let log = Axis::log([1.0, 10_000.0].into_iter(), "", |_| String::new());
        assert_eq!([0.1, 1.0, 100.0, 1e4].map(|value| log.place(value)), [0.0, 0.0, 0.5, 1.0]);
    }
}
