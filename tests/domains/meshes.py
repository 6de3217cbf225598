"""Meshes that several tests use, made without the code that they test."""

import math

import numpy as np
import sympy as sp
import torch
from scipy.spatial import ConvexHull, Delaunay

from pdeml.domains import Mesh, Surface

x, y, z = sp.symbols("x y z", real=True)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def symbols(dim):
    return (x, y, z)[:dim]


def delaunay(dim, count=150, seed=0, power=1.0):
    """Random points in the unit cube, crowded towards the origin by the power."""
    points = np.random.default_rng(seed).random((count, dim)) ** power
    if dim == 1:
        order = np.argsort(points[:, 0])
        cells = np.stack([order[:-1], order[1:]], axis=1)
        return Mesh(symbols(1), points, cells)
    # Flat cells at the hull are no part of a good mesh.
    cells = Delaunay(points).simplices
    corners = points[cells]
    volumes = abs(np.linalg.det(corners[:, 1:] - corners[:, :1]))
    longest = np.linalg.norm(corners[:, :, None] - corners[:, None], axis=-1).max(axis=(1, 2))
    assert (volumes > 1e-9 * longest**dim).all()
    return Mesh(symbols(dim), points, cells)


def disk(rings, radius=1.0, centre=(0.0, 0.0)):
    """Concentric rings of 6 i points."""
    rows = [np.zeros((1, 2))]
    for ring in range(1, rings + 1):
        angle = 2 * math.pi * np.arange(6 * ring) / (6 * ring)
        rows.append(ring / rings * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    points = np.concatenate(rows)
    cells = Delaunay(points).simplices
    return Mesh((x, y), np.array(centre) + radius * points, cells)


def annulus(count=24, inner=0.4):
    """A ring of triangles, with the parts "outside" and "hole"."""
    angle = 2 * math.pi * np.arange(count) / count
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    here, then = np.arange(count), (np.arange(count) + 1) % count
    cells = np.concatenate(
        [np.stack([here, then, here + count], 1), np.stack([then, then + count, here + count], 1)]
    )
    parts = {"outside": np.stack([here, then], 1), "hole": np.stack([here, then], 1) + count}
    return Mesh((x, y), np.concatenate([circle, inner * circle]), cells, parts)


def spiky(count=120, seed=0, parts=True):
    """A star-shaped solid with spikes and deep notches; triangles of very different size."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    triangles = ConvexHull(directions).simplices
    a, b, c = directions[triangles].swapaxes(0, 1)
    inward = (a * np.cross(b, c)).sum(axis=1) < 0
    triangles[inward] = triangles[inward, ::-1]
    vertices = directions * generator.uniform(0.25, 1, (count, 1))
    upper = np.flatnonzero(vertices[triangles].mean(axis=1)[:, 2] > 0)
    return Surface((x, y, z), vertices, triangles, {"upper": upper} if parts else None)


def winding_numbers(points, surface):
    """Sum of solid angles over 4π (Van Oosterom, Strackee 1983): another way to find the inside."""
    a, b, c = (surface.vertices[surface.facets][None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(each, axis=-1) for each in (a, b, c))
    top = (a * np.cross(b, c)).sum(axis=-1)
    bottom = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return np.arctan2(top, bottom).sum(axis=1) / (2 * math.pi)


def boxes(counts, size=0.0, seed=0, sides=(2.0, 1.0, 1.5)):
    """Quadrilaterals or hexahedra of a box; vertices moved by that share of a cell, in its sides
    where they are in one, with the faces of the box as parts."""
    dim = len(counts)
    axes = [np.linspace(0, side, n + 1) for side, n in zip(sides, counts, strict=False)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    moves = np.random.default_rng(seed).uniform(-size, size, points.shape)
    number = np.arange(math.prod(n + 1 for n in counts)).reshape([n + 1 for n in counts])
    faces = {}
    for axis in range(dim):
        moves[..., axis] *= sides[axis] / counts[axis]
        for end, place in (("low", 0), ("high", -1)):
            at = (slice(None),) * axis + (place,)
            moves[(*at, Ellipsis, axis)] = 0
            rows = number[at]
            if dim == 2:
                faces[f"{'xyz'[axis]} {end}"] = np.stack([rows[1:], rows[:-1]], axis=1)
            else:
                around = rows[:-1, :-1], rows[1:, :-1], rows[1:, 1:], rows[:-1, 1:]
                faces[f"{'xyz'[axis]} {end}"] = np.stack(around, axis=-1).reshape(-1, 4)
    low, high = slice(None, -1), slice(1, None)
    ring = [(low, low), (high, low), (high, high), (low, high)]
    if dim == 3:
        ring = [(*corner, level) for level in (low, high) for corner in ring]
    cells = np.stack([number[corner] for corner in ring], axis=-1).reshape(-1, 2**dim)
    return Mesh(symbols(dim), (points + moves).reshape(-1, dim), cells, faces)
