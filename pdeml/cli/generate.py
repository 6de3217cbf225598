"""``pdeml generate``: a data set of solutions of a declared problem."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdeml import problems
from pdeml.cli import flags
from pdeml.cli.arguments import find_problem, parse, split_assignment
from pdeml.cli.output import clean_exit, plain, print_json, say
from pdeml.errors import InvalidOption

if TYPE_CHECKING:
    from pdeml.data.single import Family
    from pdeml.operators.pde import PDE

SAMPLES_FAILED = 3
"""Exit code: the run is done, but not all of its samples."""


def generate(
    problem: flags.Problem,
    samples: Annotated[int, typer.Option("--samples", "-n", help="How many.")],
    out: Annotated[Path, typer.Option(help="HDF5 file.")],
    setting: flags.Setting = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH[:log]", help="Parameter that is drawn; may be repeated."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Root of the seeds of samples.")] = 0,
    times: flags.Times = None,
    frames: Annotated[
        int | None, typer.Option(help="Equidistant output times, ends included (51).")
    ] = None,
    resolution: flags.Resolution = None,
    keep: Annotated[
        str | None, typer.Option(help="Points per axis that are stored; default: all.")
    ] = None,
    initial: Annotated[
        str, typer.Option(help="random, declared, a field of pdeml.probability, or JSON of one.")
    ] = "random",
    method: Annotated[
        str | None, typer.Option("--method", "-m", help="Default: spectral, else fem.")
    ] = None,
    dt: flags.Step = None,
    batch: Annotated[int | None, typer.Option(help="Samples solved together.")] = None,
    device: flags.Device = None,
    dtype: Annotated[str, typer.Option(help="Stored as float32 or float64.")] = "float32",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same bits for any number, batch and shard.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Fractions to store: 0.8,0.1,0.1 (train, valid, test).")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make the I-th of N shares, from 0.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes, where a sample has one of its own.")
    ] = None,
    durability: Annotated[str, typer.Option(help="power or process.")] = "power",
    compression: Annotated[str | None, typer.Option(help="gzip or lzf; default none.")] = None,
    option: flags.Extra = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the file if it is there.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Solve failed samples again.")
    ] = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Generate a data set; killed or interrupted, the same command with --resume continues.

    Exit code 0: done; 1: stopped by Ctrl-C (what is finished is kept); 2: bad input, full disk;
    3: done, but samples failed; 143: stopped by SIGTERM.
    """
    with clean_exit(json):
        from pdeml.data.failures import failures
        from pdeml.data.generation import generate as run

        given = flags.gather(option, resolution=resolution, times=times)
        begin = time.perf_counter()
        dataset = run(
            _declared(problem, setting or ()),
            samples,
            out,
            seed=seed,
            times=_listed(given.pop("times", None)),
            frames=frames,
            resolution=given.pop("resolution", None),
            vary=dict(_range(text) for text in vary) if vary else None,
            keep=None if keep is None else parse(keep),
            initial=_initial(initial),
            method=method,
            dt=dt,
            batch=batch,
            device=device or "auto",
            dtype=dtype,
            deterministic=deterministic,
            options=given,
            split=None if split is None else _fractions(split),
            resume="auto" if resume else False,
            retry_failed=retry_failed,
            shard=None if shard is None else _shard(shard),
            workers=workers,
            durability=durability,
            compression=compression,
            command=shlex.join(["pdeml", *sys.argv[1:]]),
            progress=not quiet,
        )
        details = dataset.info()
        counts = details["samples"]
        path, size = next(iter(details["files"])), sum(details["files"].values())
        say(
            f"{path}: {counts['finished']} of {counts['all']} samples finished, "
            f"{counts['failed']} failed, {size / 1e6:.1f} MB, {time.perf_counter() - begin:.1f} s",
            quiet,
        )
        if counts["failed"]:
            number, why = next(iter(failures(dataset).items()))
            say(f"sample {number} failed: {why}")
        if json:
            print_json(plain(details))
        if counts["failed"]:
            raise typer.Exit(SAMPLES_FAILED)


def _declared(name: str, settings: Sequence[str]) -> PDE | Family:
    """A family of the zoo with its arguments, or a problem."""
    from pdeml.data.families import family_of

    family = family_of(name) if name in problems.names() else None
    if family is None:
        return find_problem(name, settings)
    known = {p.name: p.default for p in inspect.signature(family).parameters.values()}
    given = {}
    for text in settings:
        key, word = split_assignment(text, "--set")
        value, default = parse(word), known.get(key)
        if key in ("seed", "sample") or key not in known:
            raise InvalidOption(
                f"{name!r} has no argument {key!r} to set; --set accepts "
                f"{', '.join(f'{k}={v}' for k, v in known.items() if k not in ('seed', 'sample'))}."
            )
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise InvalidOption(f"--set {text!r}: {key} is {default!r} or the like.")
        given[key] = value
    return functools.partial(family, **given)


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


def _fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidOption(f"--split {text!r}: give fractions, as in 0.8,0.1,0.1.") from None


def _initial(text: str) -> Any:
    value = parse(text)
    return value if isinstance(value, dict) else text


def _range(text: str) -> tuple[str, tuple[Any, ...]]:
    name, word = split_assignment(text, "--vary")
    low, *rest = word.split(":")
    try:
        return name, (float(low), float(rest[0]), *rest[1:])
    except (ValueError, IndexError):
        raise InvalidOption(
            f"--vary {text!r}: give NAME=LOW:HIGH or NAME=LOW:HIGH:log, as in nu=0.001:0.1:log."
        ) from None


def _shard(text: str) -> tuple[int, int]:
    i, _, n = text.partition("/")
    try:
        return int(i), int(n)
    except ValueError:
        raise InvalidOption(f"--shard {text!r}: give I/N, as in 0/4 … 3/4.") from None
