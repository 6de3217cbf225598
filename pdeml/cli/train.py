"""``pdeml train``: a surrogate from a data set, in a folder from which it can go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pdeml.cli import flags
from pdeml.cli.arguments import parse, split_assignment
from pdeml.cli.output import clean_exit, console, plain, prepare_folder, print_json, say, table

INTERRUPTED = 130  # 128 + SIGINT
NONE = "none"


def train(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name: fno, unet, deeponet, transolver")
    ],
    data: Annotated[Path, typer.Option(help="Data set; its stored split, else 80/10/10.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option(help="Parameter that the model is told; may be repeated; none. Default: all."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME=VALUE", help="Of the model, as in width=32."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data (50).")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows per step (32).")] = None,
    lr: Annotated[float | None, typer.Option(help="Largest learning rate (0.001).")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="onecycle, cosine, step, plateau or constant.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="rel_l2, h1, grouped_h1, mse, vrmse, …")] = None,
    mode: Annotated[
        str | None, typer.Option(help="one_step, unroll, pushforward or recurrent.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a training window.")] = None,
    stride: Annotated[int | None, typer.Option(help="Frames per step.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, float64 or bf16.")] = None,
    seed: flags.Seed = None,
    option: flags.Extra = None,
    device: flags.Device = None,
    workers: Annotated[int, typer.Option(help="Processes that read ahead.")] = 0,
    max_time: Annotated[float | None, typer.Option(help="Seconds of training.")] = None,
    save_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints; each epoch saves too.")
    ] = None,
    keep: Annotated[int, typer.Option(help="Newest checkpoints that are kept.")] = 2,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder, exactly.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.")
    ] = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a surrogate; stopped or killed, the same command with --resume continues it exactly.

    Writes best.h5 (by validation error), model.h5 (the last), checkpoints and log.jsonl. Under
    torchrun the processes share each batch. Exit code 0: done; 1: diverged; 2: bad input; 130:
    stopped by Ctrl-C; 143: by SIGTERM.
    """
    with clean_exit(json):
        from pdeml.surrogates.training import train as run

        given = flags.gather(
            option, epochs=epochs, batch=batch, lr=lr, schedule=schedule, loss=loss, mode=mode,
            steps=steps, stride=stride, precision=precision, seed=seed,
        )  # fmt: skip
        if parameters is not None:
            given["parameters"] = [name for name in parameters if name != NONE]
        elif not resume and "parameters" not in given:
            given["parameters"] = numbers_per_sample(data)
        prepare_folder(out)
        try:
            result = run(
                model,
                data,
                out=out,
                model_options=dict(_assigned(text) for text in setting or ()),
                resume=resume,
                overwrite=overwrite,
                device=device or "auto",
                workers=workers,
                save_every=save_every,
                keep=keep,
                max_time=max_time,
                progress=not quiet,
                **given,
            )
        except KeyboardInterrupt:
            say(f"stopped by Ctrl-C; --resume continues the run in {out}")
            raise typer.Exit(INTERRUPTED) from None
        except SystemExit:
            say(f"stopped by SIGTERM; --resume continues the run in {out}")
            raise
        last = result.history[-1] if result.history else {}
        if os.environ.get("RANK", "0") != "0":
            return  # of several processes the first one tells
        files = {p.stem: str(p) for p in sorted(out.glob("*.h5")) if "checkpoint" not in p.name}
        if not quiet:
            rows = [
                ("ended by", result.ended),
                ("epochs", str(len(result.history))),
                ("training loss", f"{last.get('loss', float('nan')):.3e}"),
                ("validation nRMSE, best", f"{result.best:.3e}"),
                ("skipped batches", str(result.skipped)),
                ("wall time", f"{last.get('seconds', 0.0):.1f} s"),
            ]
            console(error=json).print(table(("", f"{model} on {data}"), rows))
            say(f"evaluate it: pdeml evaluate {out} --data {data}")
        if json:
            print_json(
                plain({"ended": result.ended, "best": result.best, "last": last, "files": files})
            )


def numbers_per_sample(data: Path) -> list[str]:
    """Parameters of a data set that are one number for each sample."""
    from pdeml.data.opening import open as open_dataset

    return [n for n, v in open_dataset(data).parameters.items() if v.dim() == 1]


def _assigned(text: str) -> tuple[str, Any]:
    name, word = split_assignment(text, "--model")
    return name, parse(word)
