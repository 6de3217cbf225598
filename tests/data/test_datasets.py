"""The data sets that come with the project: whole, as described, and made by their commands."""

import hashlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pdeml
from pdeml.cli import app

FOLDER = Path(__file__).parents[2] / "datasets"
NAMES = ["burgers", "kuramoto_sivashinsky", "vorticity"]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_whole_and_small():
    files = sorted(FOLDER.glob("*.h5"))
    assert [f.stem for f in files] == NAMES
    assert sum(f.stat().st_size for f in files) < 8 * 2**20


def test_checksums_are_those_of_the_readme(name):
    path = FOLDER / f"{name}.h5"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"{digest}  {name}.h5" in (FOLDER / "README.md").read_text()
    assert pdeml.data.verify(path).ok
    dataset = pdeml.data.open(path)
    assert len(dataset) == dataset.contents.samples
    train, _, test = dataset.split("stored")
    assert len(train) == 0.75 * len(dataset) and len(test) == 0.125 * len(dataset)


def test_the_command_of_the_folder_is_the_one_in_the_file(name):
    """The shell script and the provenance agree, word by word."""
    script = (FOLDER / "generate.sh").read_text().replace("\\\n", " ")
    words = [shlex.split(line) for line in re.findall(r"^pdeml generate.*$", script, re.M)]
    stored = pdeml.data.open(FOLDER / f"{name}.h5").contents.attributes["provenance"]["command"]
    assert shlex.split(stored) in words


def test_first_samples_are_made_again(name, tmp_path):
    """The start of the first 16 samples; chaos amplifies what another processor rounds."""
    dataset = pdeml.data.open(FOLDER / f"{name}.h5")
    stored = shlex.split(dataset.contents.attributes["provenance"]["command"])
    words = [*stored[1:]]
    words[words.index("--samples") + 1] = "16"
    words[words.index("--out") + 1] = str(tmp_path / "a.h5")
    frames = dataset.times[:3].tolist()
    place = words.index("--frames")
    words[place : place + 2] = ["--times", ",".join(map(str, frames))]
    done = CliRunner().invoke(app, [*words, "--quiet"])
    assert done.exit_code == 0, done.output
    again = pdeml.data.open(tmp_path / "a.h5")
    expected = dataset.read(range(16), range(3))
    torch.testing.assert_close(
        again.read(), expected, rtol=0, atol=2e-5 * expected.abs().max().item()
    )
    for parameter, values in again.params.items():
        np.testing.assert_array_equal(values, dataset.params[parameter][:16])


def test_conserved_quantities():
    """The mean of Burgers and Kuramoto–Sivashinsky stays; the vorticity has mean zero."""
    for name in ("burgers", "kuramoto_sivashinsky"):
        values = pdeml.data.open(FOLDER / f"{name}.h5").read().double()
        drift = (values.mean(-1) - values[:, :1].mean(-1)).abs().max()
        assert drift < 1e-6 * values.abs().max()
    omega = pdeml.data.open(FOLDER / "vorticity.h5").read().double()
    assert omega.mean((-1, -2)).abs().max() < 1e-7
