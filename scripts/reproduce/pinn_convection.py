"""Convection at c = 50 by the Eulerian PINN: it must either solve it or say that it did not."""

from reproduction import arguments, reproduce

import pdeml

args = arguments(__doc__, time_limit=100)


def run(seed):
    problem = pdeml.problems.convection(speed=50)
    solution = pdeml.solve(
        problem, "pinn", seed=seed, device=args.device, time_limit=args.time_limit
    )
    return {
        **solution.error(pdeml.solve(problem, "exact")),
        "converged": solution.report.converged,
        "converged_without_reference": not solution.report.notes
        or not any(note.startswith("not converged") for note in solution.report.notes),
        "residual_train": solution.report.residual_train,
        "residual_fresh": solution.report.residual_fresh,
    }


reproduce(args, "relative L2 ≤ 1e-2, or converged is False", run)
