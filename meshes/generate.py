"""Make the mesh files of this folder, and the table in README.md.

Needs gmsh (``pip install gmsh``) for the meshes with round sides. The same version gives the same
bytes: nothing here is random.
"""

import hashlib
import math
from pathlib import Path

import sympy as sp

from pdeml import Disk, Mesh, Rectangle

FOLDER = Path(__file__).parent
x, y = sp.symbols("x y", real=True)


def square(n: int) -> Mesh:
    """(0, 1)² in 2 n² triangles."""
    return Mesh.structured(Rectangle((x, y), (0, 0), (1, 1)), n)


def l_shape() -> Mesh:
    """(−1, 1)² without its lower right quarter; the sides at the re-entrant corner are named."""
    whole = Rectangle((x, y), (-1, -1), (1, 1))
    mesh = Mesh.structured(whole - Rectangle((x, y), (0, -1), (1, 0)), 32)
    return mesh.renamed({name: _l_shape_part(name) for name in mesh.parts})


def _l_shape_part(name: str) -> str:
    return "corner" if name.startswith("second.") else "outer"


def plate_with_hole() -> Mesh:
    """(−1, 1)² without the disk of radius 1/4, finer towards the hole."""
    plate = Rectangle((x, y), (-1, -1), (1, 1)) - Disk((x, y), (0, 0), 0.25)
    mesh = Mesh.generate(plate, lambda x, y: 0.02 + 0.1 * (math.hypot(x, y) - 0.25))
    return mesh.renamed({"boundary": "hole"})


def plate_with_hole_quads() -> Mesh:
    """The same plate in quadrilaterals: a grid, and rings about the hole."""
    plate = Rectangle((x, y), (-1, -1), (1, 1)) - Disk((x, y), (0, 0), 0.25)
    return Mesh.structured(plate, 24, "quadrilateral").renamed({"boundary": "hole"})


def channel_cylinder() -> Mesh:
    """The channel of the DFG benchmark 2D (Schäfer, Turek 1996), finer at the cylinder."""
    channel = Rectangle((x, y), (0, 0), (2.2, 0.41)) - Disk((x, y), (0.2, 0.2), 0.05)

    def size(x: float, y: float) -> float:
        away = math.hypot(x - 0.2, y - 0.2) - 0.05
        # Half as fast downstream, where the wake is.
        return min(0.006 + (0.1 if x < 0.2 else 0.05) * away, 0.03)

    sides = {"left": "inlet", "right": "outlet", "bottom": "walls", "top": "walls"}
    return Mesh.generate(channel, size).renamed({**sides, "boundary": "cylinder"})


def disc() -> Mesh:
    """The unit disk."""
    return Mesh.generate(Disk((x, y), (0, 0), 1), 0.08)


def row(name: str, mesh: Mesh) -> str:
    """Write a mesh, and say what it is."""
    mesh.write(FOLDER / f"{name}.xdmf")
    parts, rows = ", ".join(mesh.parts), []
    for suffix in ("xdmf", "h5"):
        content = (FOLDER / f"{name}.{suffix}").read_bytes()
        counts = f"{len(mesh.vertices)} | {len(mesh.cells)} | {parts}"
        digest = hashlib.sha256(content).hexdigest()
        rows.append(f"| {name}.{suffix} | {counts} | {len(content)} | {digest} |")
    return "\n".join(rows)


def main() -> None:
    """Write all files."""
    meshes = {
        "unit_square_16": square(16),
        "unit_square_32": square(32),
        "l_shape": l_shape(),
        "plate_with_hole": plate_with_hole(),
        "plate_with_hole_quads": plate_with_hole_quads(),
        "channel_cylinder": channel_cylinder(),
        "disc": disc(),
    }
    rows = ["| file | vertices | cells | parts | bytes | SHA-256 |", "|---|---|---|---|---|---|"]
    rows += [row(name, mesh) for name, mesh in meshes.items()]
    readme = FOLDER / "README.md"
    text = readme.read_text(encoding="utf-8").split("\n|")[0]
    readme.write_text("\n".join([text, *rows, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
