"""What a run says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pdeml.errors import InvalidFile


@dataclass(frozen=True)
class Estimate:
    """An unknown parameter that was identified, with its standard error where there is one."""

    value: float
    standard_error: float | None = None

    def __str__(self) -> str:
        if self.standard_error is None:
            return f"{self.value:.6g}"
        return f"{self.value:.6g} ± {self.standard_error:.1g}"


@dataclass
class Report:
    """What a run says about itself. A small loss is not a small error: `error` is the error.

    Attributes
    ----------
    method : name of the method.
    converged : False where the method knows that it failed, None where it cannot tell.
    losses : training loss per term.
    residual_train, residual_fresh : RMS residual on the training points and on fresh points.
    fresh_points : number of the latter, on which nothing was trained.
    violations : largest violation per condition.
    min_causal_gate : smallest weight of causal training; near 1 when all times are trained.
    min_jacobian : smallest det ∂X/∂ξ of characteristics; they cross where it is zero.
    dtype, device, engine : what computed it.
    wall_time : in seconds.
    iterations : optimizer iterations or time steps.
    parameters_count : trained numbers, or stored coefficients.
    error : relative L2 and maximum error against `reference`, None where unknown.
    reference : ``"exact"``, ``"spectral"``, ``"self-convergence"`` (the same method, coarser),
        ``"unknown"``, or the name of the method that was given; None for the reference itself.
    interrupted : stopped by the user; the state is the best until then.
    notes : anything that a reader must know, one sentence each.
    """

    method: str
    converged: bool | None = None
    losses: dict[str, float] = field(default_factory=dict)
    residual_train: float | None = None
    residual_fresh: float | None = None
    fresh_points: int = 0
    violations: dict[str, float] = field(default_factory=dict)
    min_causal_gate: float | None = None
    min_jacobian: float | None = None
    dtype: str = "float64"
    device: str = "cpu"
    engine: str = ""
    wall_time: float = 0.0
    iterations: int = 0
    parameters_count: int = 0
    error: dict[str, float] | None = None
    reference: str | None = "unknown"
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str]]:
        """Label and text of everything that is known, in the order of a table."""
        verdict = {True: "yes", False: "NO", None: "not judged"}[self.converged]
        rows = [("method", self.method), ("converged", verdict)]
        if self.error is not None:
            against = f" (against {self.reference})"
            for name, value in self.error.items():
                rows.append((f"error {name}", f"{value:.2e}{against}"))
        elif self.reference == "unknown":
            rows.append(("error", "unknown: no reference for this problem"))
        rows += [(f"loss {name}", f"{value:.2e}") for name, value in self.losses.items()]
        if self.residual_train is not None:
            rows.append(("residual, training points", f"{self.residual_train:.2e} (RMS)"))
        if self.residual_fresh is not None:
            label = f"residual, {self.fresh_points} fresh points"
            rows.append((label, f"{self.residual_fresh:.2e} (RMS)"))
        rows += [(f"violation {name}", f"{value:.2e}") for name, value in self.violations.items()]
        if self.min_causal_gate is not None:
            rows.append(("smallest causal gate", f"{self.min_causal_gate:.3f}"))
        if self.min_jacobian is not None:
            rows.append(("smallest Jacobian", f"{self.min_jacobian:.4g}"))
        rows += [
            ("iterations", str(self.iterations)),
            ("parameters", str(self.parameters_count)),
            ("wall time", f"{self.wall_time:.1f} s"),
            ("computed", ", ".join(p for p in (self.dtype, self.device, self.engine) if p)),
        ]
        return rows + [("note", note) for note in self.notes]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        known = {f.name for f in fields(cls)}
        unknown = set(data) - known
        if unknown or "method" not in data:
            raise InvalidFile(f"A report cannot hold {sorted(unknown)} or lacks its method.")
        return cls(**data)
