"""Benchmarks against peers, in one run, as ratios: ``pdeml bench SUITE``.

Each suite is a module with ``run(progress) -> dict`` (plain JSON types) and ``table(result)``.
"""

SUITES: dict[str, str] = {
    "fem": "pdeml.bench.fem",
    "data": "pdeml.bench.data",
    "pig-step": "pdeml.bench.pig_step",
    "pinn-step": "pdeml.bench.pinn_step",
    "spectral": "pdeml.bench.spectral",
}
"""Name of a suite -> its module."""
