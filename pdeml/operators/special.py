"""SymPy functions of exact solutions that have no elementary form."""

from __future__ import annotations

from typing import Any

import sympy as sp


class BurgersSine(sp.Function):
    """Solution u(x, t) of viscous Burgers that starts as a sine (Cole–Hopf).

        u_t + u u_x = ν u_xx,   u(x, 0) = −sin πx,   period 2 in x (so that u(±1, t) = 0)

    ``BurgersSine(x, t, nu)`` is evaluated by `pdeml.special.burgers.burgers_sine`.
    """

    nargs = 3

    @classmethod
    def eval(cls, x: sp.Expr, t: sp.Expr, nu: sp.Expr) -> sp.Expr | None:
        return -sp.sin(sp.pi * x) if t.is_zero else None

    def _eval_is_real(self) -> bool | None:
        return True if all(a.is_real for a in self.args) else None

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        x, t, nu = (printer.doprint(a) for a in self.args)
        base = rf"\operatorname{{Burgers}}\left({x}, {t}; {nu}\right)"
        return base if exp is None else f"{base}^{{{exp}}}"
