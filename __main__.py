"""The Pulumi program: from a stack's config to a benchmark's results.

Pulumi.<stack>.yaml -> settings -> ladder -> rung -> BenchmarkJob (surface, runs) -> results
                                     ^                      | attempt failed: cause, scope
                                     +------- ledger <------+
"""

import pulumi

import components
from benchmark_job import BenchmarkJob, BenchmarkJobArgs
from benchmark_job.order import job_digest
from engine import program
from placement.choice import current_rung

# A stack has one master, the engine that deployed it; this ends the program if that is another one.
program.begin()

# What the stack asks for: the rungs it accepts, best first, and what to measure on the first that serves.
settings = program.stack_settings()

# What came of it so far: every attempt, and where one is under way.
ledger, clock = program.ledger(settings), program.clock()

# Where the runs are, or will be, carried out. No cloud is asked: a preview and its update have to agree.
job = job_digest(settings.benchmark)
rung = current_rung(settings, ledger.attempts(), clock.now(), job=job, surfaces=components.built())

# The results. Capacity is declared only while a run has none.
results = BenchmarkJob(
    "benchmark",
    BenchmarkJobArgs(
        settings=settings,
        rung=rung,
        ledger=ledger,
        clock=clock,
        release=program.releases(settings, rung),
        explain=not program.walks(),
    ),
)

for name, value in results.outputs.items():
    pulumi.export(name, value)
