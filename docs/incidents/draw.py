"""Rehearses the incidents' scenarios, and puts what came of it into their pages: timelines and pictures.

    python -m docs.incidents.draw

A page asks for a timeline by a fenced block ```` ```text timeline <scenario> ````, and for a picture by naming
``pictures/<scenario>-light.svg``. All is rehearsed on the embedded engine.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Literal

from benchmark_job.report.chart import svg
from benchmark_job.report.timeline_picture import picture
from engine import drill, masters
from engine.simulated.scenario import Scenario
from placement import timeline
from placement.telling import walked

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parents[1]
WIDTH = 100
"""Columns of a timeline in a page."""

_BLOCK = re.compile(r"^(```text timeline (\S+)\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"pictures/([\w-]+)-light\.svg")
_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def rehearse(
    name: str, folder: Path, engine: str = masters.EMBEDDED, scenario: Scenario | None = None
) -> drill.Rehearsal:
    """Rehearse a scenario of this folder with the stack that it brings along. ``scenario``: in place of its file's."""
    read = scenario or Scenario.from_file(FOLDER / f"{name}.yaml")
    stack = drill.stack_of(read)
    return drill.rehearse(folder, PROJECT, drill.SCENARIO_STACK, stack, read, engine=engine, file=io.StringIO())


def shown(done: drill.Rehearsal) -> timeline.Walked:
    """A rehearsal's walk as the timeline takes it, with the scenario's own words."""
    facts = {"scenario": done.cloud.scenario.about}
    return walked(
        done.ending,
        done.settings,
        drill.SCENARIO_STACK,
        done.begun,
        done.ended,
        done.attempts,
        simulated=True,
        facts=facts,
    )


def text(done: drill.Rehearsal) -> str:
    """A rehearsal's timeline as it is printed, `WIDTH` columns wide."""
    out = io.StringIO()
    timeline.render(shown(done), out, WIDTH)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def blocks(page: str) -> dict[str, str]:
    """The timelines that a page has, by their scenarios."""
    return {name: body for _, name, body, _ in _BLOCK.findall(page)}


def pictures(page: str) -> tuple[str, ...]:
    """The scenarios that a page shows pictures of."""
    return tuple(dict.fromkeys(_PICTURE.findall(page)))


def _put(page: str, name: str, said: str) -> str:
    """The page with another text in a scenario's timeline."""
    return _BLOCK.sub(lambda found: found[1] + (said if found[2] == name else found[3]) + found[4], page)


def main() -> int:
    """Draw all pages anew; the exit code."""
    for path in sorted(FOLDER.glob("[0-9]-*.md")):
        page = path.read_text(encoding="utf-8")
        for name in dict.fromkeys([*blocks(page), *pictures(page)]):
            with tempfile.TemporaryDirectory() as folder:
                done = rehearse(name, Path(folder) / "drill")
                said, chart = text(done), picture(shown(done))
            page = _put(page, name, said)
            if chart is not None and name in pictures(page):
                (FOLDER / "pictures").mkdir(exist_ok=True)
                for theme in _THEMES:
                    (FOLDER / "pictures" / f"{name}-{theme}.svg").write_text(svg(chart, theme), encoding="utf-8")
        path.write_text(page, encoding="utf-8")
        print(path.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
