"""Times scikit-fem's Newton assembly: ``python skfem_worker.py MESH.npz REPEATS`` prints JSON.

A program of its own: it runs in another environment than pdeml's and needs nothing of it. The file
holds the mesh (points (2, V), triangles (3, C)) and the quadrature degree; the problem is that of
`pdeml.bench.fem`, the state u = x² − xy/2 + 1, and one assembly is J and R with what scikit-fem
needs for them at a new state (the interpolation to the quadrature points).
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any


def main(path: str, repeats: int) -> dict[str, Any]:
    import numpy as np
    from skfem import Basis, BilinearForm, ElementTriP2, LinearForm, MeshTri
    from skfem.helpers import dot, grad

    data = np.load(path)
    mesh = MeshTri(data["points"], data["triangles"])
    basis = Basis(mesh, ElementTriP2(), intorder=int(data["quadrature"]))
    x, y = basis.global_coordinates().value
    w, pi = np.sin(np.pi * x) * np.cos(np.pi * y / 2) + 1, np.pi
    w_x = pi * np.cos(pi * x) * np.cos(pi * y / 2)
    w_y = -pi / 2 * np.sin(pi * x) * np.sin(pi * y / 2)
    laplacian = -(pi**2) * 5 / 4 * (w - 1)
    # given in advance: the source does not depend on the state
    source = -(1 + w**2) * laplacian - 2 * w * (w_x**2 + w_y**2) + w**3

    @BilinearForm
    def jacobian(u, v, w):  # type: ignore[no-untyped-def]
        s, g = w.s, grad(w.s)
        return (1 + s**2) * dot(grad(u), grad(v)) + 2 * s * u * dot(g, grad(v)) + 3 * s**2 * u * v

    @LinearForm
    def residual(v, w):  # type: ignore[no-untyped-def]
        return (1 + w.s**2) * dot(grad(w.s), grad(v)) + (w.s**3 - w.f) * v

    state = basis.project(lambda p: p[0] ** 2 - p[0] * p[1] / 2 + 1)

    def assemble() -> tuple[Any, Any]:
        s = basis.interpolate(state)
        return jacobian.assemble(basis, s=s), residual.assemble(basis, s=s, f=source)

    matrix, vector = assemble()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        assemble()
        seconds.append(time.perf_counter() - start)
    return {
        "skfem": version("scikit-fem"),
        "seconds": min(seconds),
        "jacobian_norm": float(np.sqrt((matrix.data**2).sum())),
        "residual_norm": float(np.linalg.norm(vector)),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
