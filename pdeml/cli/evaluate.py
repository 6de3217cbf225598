"""``pdeml evaluate``: the errors of a trained surrogate, as table, figures and HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdeml import engine
from pdeml.bench.machine import describe_machine
from pdeml.cli import flags
from pdeml.cli.output import (
    clean_exit,
    console,
    json_text,
    plain,
    prepare_folder,
    print_json,
    save_figure,
    table,
)
from pdeml.report import sheet

REMARK = (
    "Errors against the data in physical units, not losses. Persistence is “nothing changes”: a "
    "model that does not beat it has learned nothing."
)


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, or a model file.")],
    data: Annotated[Path, typer.Option(help="Data set; its stored test split, else all of it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default DIR/evaluation.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of the roll-outs; default: all times.")] = None,
    batch: Annotated[int, typer.Option(help="Samples at a time.")] = 32,
    device: flags.Device = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure a surrogate on data: one step, roll-outs, spectra, conserved quantities.

    Writes evaluation.json, rollout.png, errors.png, spectrum.png and report.html. Exit code 0:
    done; 2: bad input, for instance data that do not fit the model.
    """
    with clean_exit(json):
        from pdeml.data.opening import open as open_dataset
        from pdeml.surrogates.evaluation import evaluate as measure
        from pdeml.surrogates.evaluation import held_out
        from pdeml.surrogates.model_file import load
        from pdeml.surrogates.models import config_of, name_of
        from pdeml.surrogates.pictures import errors_figure, rollout_figure, spectrum_figure

        surrogate = load(run)
        test = held_out(open_dataset(data))
        result = measure(surrogate, test, steps=steps, batch=batch, device=device or "auto")
        folder = prepare_folder(out or (run if run.is_dir() else run.parent) / "evaluation")
        name, pictures = name_of(surrogate.model), []
        channels = [surrogate.task.channels[c] for c in surrogate.task.targets]
        if len(result.times) and surrogate.coords is None:
            drawn = rollout_figure(result, test, channels, name)
            pictures.append((save_figure(drawn, folder / "rollout.png"), "First test sample"))
        if len(result.times):
            drawn = errors_figure(result)
            caption = "Roll-outs: means over samples and channels"
            pictures.append((save_figure(drawn, folder / "errors.png"), caption))
        if result.spectra:
            drawn = spectrum_figure(result, name)
            caption = "Mean power spectra at the final time"
            pictures.append((save_figure(drawn, folder / "spectrum.png"), caption))
        details = {**result.to_dict(), "model": name, "machine": describe_machine()}
        engine.write_text(folder / "evaluation.json", json_text(details) + "\n")
        trained = surrogate.training_record
        config = config_of(surrogate.model)
        sections = {
            "nRMSE of one step by channel": [(c, f"{v:.3e}") for c, v in result.by_channel.items()],
            "Model": [("name", name), *((k, str(v)) for k, v in config.items())],
            "Training": [
                *((k, str(v)) for k, v in trained.get("options", {}).items()),
                *((f"{k}, at the end", f"{v:.6g}") for k, v in trained.get("last", {}).items()),
            ],
            "Machine and versions": [
                (k, str(v)) for k, v in describe_machine().items() if v is not None
            ],
        }
        title = f"{name} on {data.name} ({result.samples} samples)"
        report = folder / "report.html"
        engine.write_text(report, sheet(title, result.rows(), pictures, sections, REMARK))
        if not quiet:
            console(error=json).print(table(("", title), result.rows()))
        if json:
            print_json(plain({**details, "html": str(report)}))
        elif not quiet:
            typer.echo(f"report: {report}")
