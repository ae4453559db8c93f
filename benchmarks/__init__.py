"""Speed and memory goals, each shown by a script that measures two sides against one another in one run.

    python -m benchmarks [--quick]              all of them
    python -m benchmarks.startup [--quick]      one of them

Exit code 0: the goal is met; 1: it isn't, or chance leaves it undecided, or a side failed.
docs/performance.md has the figures.
"""
