"""The ratios as a picture: each with its interval, and its goal as a mark."""

from html import escape

# Of the picture; ratios beyond the axis stand at its end.
WIDTH, LINE, TOP, LEFT, RIGHT = 1020, 22, 34, 475, 60
AXIS_MAX, AXIS_STEP = 1.5, 0.25

COLOURS = {"met": "#1a7f37", "missed": "#cf222e"}
OTHER = "#57606a"


def svg(lines):
    """Of the lines that are ratios and were measured."""
    drawn = [line for line in lines if line.measured and line.goal.unit is None]
    height = TOP + LINE * len(drawn) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="12"'
        f' font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *axis(height),
    ]
    for index, line in enumerate(drawn):
        parts += ratio(line, TOP + LINE * index + LINE / 2)
    return "\n".join([*parts, "</svg>\n"])


def x(value):
    return round(LEFT + min(value / AXIS_MAX, 1) * (WIDTH - LEFT - RIGHT), 1)


def axis(height):
    for step in range(round(AXIS_MAX / AXIS_STEP) + 1):
        at = x(step * AXIS_STEP)
        yield f'<path d="M{at} {TOP - 6}V{height - 8}" stroke="#d0d7de"/>'
        yield f'<text x="{at}" y="{TOP - 14}" text-anchor="middle">{step * AXIS_STEP:g}</text>'


def ratio(line, y):
    """A point on its interval, the goal as an upright mark, and the figure at the right."""
    figure, goal = line.figure, line.goal
    colour = COLOURS.get(figure["verdict"], OTHER)
    yield f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(line.title)}</text>'
    if goal.bound is not None:
        yield f'<path d="M{x(goal.bound)} {y - 8}v16" stroke="#000" stroke-width="2"/>'
    if ends := figure["interval95"]:
        yield f'<path d="M{x(ends[0])} {y}H{x(ends[1])}" stroke="{colour}" stroke-width="5"/>'
    yield f'<circle cx="{x(figure["median"])}" cy="{y}" r="4" fill="{colour}"/>'
    yield f'<text x="{WIDTH - RIGHT + 10}" y="{y + 4}">{figure["median"]:.3f}</text>'
