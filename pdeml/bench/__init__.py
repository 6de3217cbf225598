"""Benchmarks against peers, in one run, as ratios: ``pdeml bench SUITE``.

Each suite is a module with ``run(progress) -> dict`` (plain JSON types) and ``table(result)``.
"""

SUITES: dict[str, str] = {
    "accuracy": "pdeml.bench.accuracy",
    "fem": "pdeml.bench.fem",
    "data": "pdeml.bench.data",
    "operators": "pdeml.bench.operators",
    "pig-step": "pdeml.bench.pig_step",
    "pinn-step": "pdeml.bench.pinn_step",
    "spectral": "pdeml.bench.spectral",
}
"""Name of a suite -> its module."""
