"""The Pulumi program: from a stack's config to a benchmark's results.

Pulumi.<stack>.yaml -> settings -> ladder -> rung -> BenchmarkJob (surface, runs) -> results
"""

import pulumi

from benchmark_job import BenchmarkJob, BenchmarkJobArgs
from engine import program
from placement.choice import current_rung

# A stack has one master, the engine that deployed it; this ends the program if that is another one.
program.begin()

# What the stack asks for: the rungs it accepts, best first, and what to measure on the first that serves.
settings = program.stack_settings()

# Where the runs are, or will be, carried out.
rung = current_rung(settings)

# The results. Capacity is declared only while a run has none.
job = BenchmarkJob("benchmark", BenchmarkJobArgs(settings=settings, rung=rung))

for name, value in job.outputs.items():
    pulumi.export(name, value)
