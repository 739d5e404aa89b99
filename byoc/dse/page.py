"""An exploration as one page: the picture of speed against area, the front, the way to the best.

The page needs no network and no file beside it; the picture is drawn here, as SVG.
"""

from __future__ import annotations

from html import escape

from byoc.dse.ladder import Scored
from byoc.dse.limits import utilisation
from byoc.dse.pareto import pareto_front
from byoc.dse.report import describe_step, differing
from byoc.dse.search import Exploration

__all__ = ["page", "picture"]

_WIDTH, _HEIGHT, _EDGE = 760, 380, 48
_STYLE = """
body { font: 15px system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1c1e21; background: #fff }
table { border-collapse: collapse } td, th { padding: .2rem .7rem; text-align: right;
  border-bottom: 1px solid #d5d9de } td:last-child, th:last-child { text-align: left }
svg text { font: 12px system-ui, sans-serif; fill: currentColor }
.all { fill: #9aa4b0 } .front { fill: #2456b3 } .best { fill: #c2410c } .default { fill: #15803d }
.line { fill: none; stroke: #2456b3 } .axis { stroke: currentColor } li { margin: .3rem 0 }
@media (prefers-color-scheme: dark) { body { color: #e4e6e9; background: #16181b }
  .front { fill: #7aa7ff } .line { stroke: #7aa7ff } .best { fill: #fb923c }
  .default { fill: #4ade80 } td, th { border-color: #3a3f45 } }
"""


def picture(found: Exploration) -> str:
    """Return speed against area as SVG: every machine, the front, the best, the default.

    Args:
        found: The exploration.
    """
    front = pareto_front(found.scored, found.limits)
    machines = [*found.scored, found.default]
    right = max(utilisation(m.area, found.limits) for m in machines) * 1.05
    top = max(1 / m.score for m in machines) * 1.1

    def place(machine: Scored) -> tuple[float, float]:
        x = _EDGE + utilisation(machine.area, found.limits) / right * (_WIDTH - 2 * _EDGE)
        return x, _HEIGHT - _EDGE - 1 / machine.score / top * (_HEIGHT - 2 * _EDGE)

    def dot(machine: Scored, kind: str, size: int) -> str:
        x, y = place(machine)
        said = f"{1 / machine.score:.2f}x: {differing(machine, found.default)}"
        return (
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}">'
            f"<title>{escape(said)}</title></circle>"
        )

    line = " ".join("{:.1f},{:.1f}".format(*place(m)) for m in front)
    bottom, end = _HEIGHT - _EDGE, _WIDTH - _EDGE
    marks = [
        f'<text x="{_EDGE - 8}" y="{bottom - share * (_HEIGHT - 2 * _EDGE):.0f}" '
        f'text-anchor="end">{share * top:.1f}x</text>'
        f'<text x="{_EDGE + share * (_WIDTH - 2 * _EDGE):.0f}" y="{bottom + 18}" '
        f'text-anchor="middle">{share * right:.0%}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Speed against area">',
        f'<path class="axis" fill="none" d="M{_EDGE} {_EDGE}V{bottom}H{end}"/>',
        *marks,
        f'<text x="{end}" y="{_HEIGHT - 8}" text-anchor="end">share of the limits</text>',
        f'<text x="{_EDGE}" y="{_EDGE - 14}">speed, over the default machine</text>',
        f'<polyline class="line" points="{line}"/>',
        *(dot(m, "all", 3) for m in found.scored),
        *(dot(m, "front", 4) for m in front),
        dot(found.default, "default", 5),
        dot(found.best, "best", 6),
        "</svg>",
    ]
    return "\n".join(parts)


def page(found: Exploration) -> str:
    """Return the page.

    Args:
        found: The exploration.
    """
    names = list(found.limits)
    models = list(found.default.evaluation.cycles)
    heads = ["speed", "share of limits", *names, *(f"cycles of {m}" for m in models), "machine"]
    rows = []
    for machine in (found.default, *pareto_front(found.scored, found.limits)):
        shown = "default" if machine is found.default else differing(machine, found.default)
        cells = [
            f"{1 / machine.score:.2f}x",
            f"{utilisation(machine.area, found.limits):.0%}",
            *(f"{machine.area[name]}" for name in names),
            *(f"{machine.evaluation.cycles[m]}" for m in models),
            shown,
        ]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    limits = ", ".join(f"{name} {limit}" for name, limit in found.limits.items())
    counts = ", ".join(f"{count} {level}" for level, count in found.counts.items())
    summary = (
        f"{1 / found.best.score:.2f} times the default machine, within {limits}; {found.size} "
        f"points in the space, evaluations: {counts}; {found.equal} machines had code that another "
        f"one had; {found.seconds:.1f} s; the search ended: {found.stopped}."
    )
    steps = "".join(f"<li>{escape(describe_step(step))}</li>" for step in found.steps)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>byoc dse</title>'
        f"<style>{_STYLE}</style><h1>Design space exploration</h1><p>{escape(summary)}</p>"
        f"{picture(found)}<h2>Machines that no other one beats</h2><table><tr>"
        + "".join(f"<th>{escape(head)}</th>" for head in heads)
        + f"</tr>{''.join(rows)}</table><h2>The way to the best</h2><ol>{steps}</ol></html>\n"
    )
