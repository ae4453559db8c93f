"""How long it takes to classify one failure's text: the mean over the corpus' known messages, and the slowest.

The messages are real ones, with the wrapping they were posted in. The reference reads each text once (its hash, of a
new string), so that what is measured is the classifying. The patterns are compiled when the first text is classified;
what that takes is told, and is not in the mean.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Callable

from benchmarks.side_by_side import PROJECT_ROOT, Compare, Goal, Side, parser, run
from placement.causes import classify

GOAL = Goal("under 50 microseconds a message", Compare.DIFFERENCE, 50.0, "µs")
_CORPUS = PROJECT_ROOT / "tests" / "placement" / "corpus" / "known"


def messages() -> list[str]:
    """The known messages' texts."""
    files = sorted(_CORPUS.glob("*.toml"))
    return [message["text"] for file in files for message in tomllib.loads(file.read_text(encoding="utf-8"))["message"]]


def mean_us(texts: list[str], work: Callable[[str], object], rounds: int) -> float:
    """Microseconds a text, over some rounds through all."""
    began = time.perf_counter()
    for _ in range(rounds):
        for text in texts:
            work(text)
    return (time.perf_counter() - began) / (rounds * len(texts)) * 1e6


def main() -> int:
    """0 if the goal is met."""
    options = parser(__doc__ or "").parse_args()
    texts = messages()
    rounds = 2 if options.quick else 10
    began = time.perf_counter()
    classify(texts[0])
    first = time.perf_counter() - began
    length = sum(map(len, texts)) / len(texts)
    met = run(
        f"{len(texts)} messages, {length:.0f} characters on average",
        GOAL,
        Side("classify", "µs", lambda: mean_us(texts, classify, rounds)),
        Side("read", "µs", lambda: mean_us(texts, lambda text: hash(f"{text} "), rounds)),
        pairs=options.pairs or (5 if options.quick else 25),
    )
    slowest = max((min(mean_us([text], classify, 3) for _ in range(5)), len(text)) for text in texts)
    print(f"  the first message takes {first * 1e3:.0f} ms, with the imports and the compiling of the patterns")
    print(f"  the slowest message takes {slowest[0]:.0f} µs and has {slowest[1]} characters")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
