"""Owns the small chart of `timeline`: mails counted and the cursor over time, in plain characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from listmonk_doctor.render.document import Chart

HEIGHT: Final = 8
"""Lines of the chart itself, without the axis below."""
NARROWEST: Final = 30
WIDEST: Final = 100
SENT, CURSOR, BOTH, DEATH = "o", "+", "#", "x"


def lines(chart: Chart, width: int) -> list[str]:
    """Return the chart as lines not wider than `width` (columns; at least 30).

    Each series has its own scale, from 0 to its largest value; a death is marked on the axis.
    """
    points = chart.points
    series = (tuple((point[0], point[1]) for point in points), tuple((point[0], point[2]) for point in points))
    labels = [f"{max(value for _, value in each):,}" for each in series]
    columns = max(NARROWEST, min(WIDEST, width)) - len(labels[0]) - len(labels[1]) - 4
    first, last = points[0][0], points[-1][0]
    span = max(last - first, 1e-6)

    def column(at: float) -> int:
        return min(columns - 1, max(0, int((at - first) / span * columns)))

    grid = [[" "] * columns for _ in range(HEIGHT)]
    for each_one, sign in zip(series, (SENT, CURSOR), strict=True):
        most = max(1, *(value for _, value in each_one))
        held = 0
        values = {column(at): value for at, value in each_one}
        for each in range(columns):
            held = values.get(each, held)
            line = HEIGHT - 1 - min(HEIGHT - 1, int(held / most * (HEIGHT - 1) + 0.5))
            grid[line][each] = BOTH if grid[line][each] not in (" ", sign) else sign
    axis = ["-"] * columns
    for at in chart.marks:
        axis[column(at)] = DEATH
    drawn = []
    for number, row in enumerate(grid):
        left, right = labels if number == 0 else ("0", "0") if number == HEIGHT - 1 else ("", "")
        drawn.append(f"{left:>{len(labels[0])}} |{''.join(row)}| {right}".rstrip())
    blank = " " * len(labels[0])
    drawn.append(f"{blank} +{''.join(axis)}+")
    ends = f"{chart.first}{chart.last:>{max(1, columns - len(chart.first))}}"
    drawn.append(f"{blank}  {ends}")
    legend = f"{SENT} sent (left)   {CURSOR} cursor (right)   {BOTH} both"
    drawn.append(f"{blank}  {legend}" + (f"   {DEATH} a death of the sender" if chart.marks else ""))
    return drawn
