"""The command: what it prints, writes and returns, for good input, bad input and Ctrl-C."""

import errno
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.table import Table
from typer.testing import CliRunner

import pdeml
from pdeml import engine, solvers
from pdeml.cli import app
from pdeml.cli import benchmark as bench_command
from pdeml.cli import doctor as doctor_command
from pdeml.cli.arguments import find_problem, method_options, parse
from pdeml.cli.compare import TRAINING_SECONDS, share
from pdeml.cli.output import slug
from pdeml.cli.problem_file import read_problem
from pdeml.errors import InvalidOption, InvalidProblem

TINY = [
    *("--option", "pinn.points=200", "--option", "pinn.adam_steps=10"),
    *("--option", "pinn.cycle=10"),
]
TINY_SOLVE = [word.removeprefix("pinn.") for word in TINY]

DECLARATION = """
import sympy as sp
import pdeml

x, t = sp.symbols("x t", real=True)
u = pdeml.Field("u", x, t)

def make(name):
    return pdeml.PDE(
        name,
        [sp.Eq(u.diff(t), pdeml.Parameter("kappa", 0.1) * u.diff(x, 2))],
        pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
        [pdeml.Initial(u, sp.sin(2 * sp.pi * x)), pdeml.Periodic(u, x)],
    )
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def plain_width(monkeypatch):
    """Tables are as wide as where no terminal says how wide it is."""
    monkeypatch.delenv("COLUMNS", raising=False)


def refused(*words, code=2) -> str:
    """The one sentence on standard error of a command that fails."""
    result = run(*words, code=code)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    *_, last = result.stderr.strip().splitlines()
    return last


def write(name: str, text: str) -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


# -------------------------------------------------------------------------------- words to values


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("3", 3), ("1e-3", 1e-3), ("1.", 1.0), (".5", 0.5), ("64,128", [64, 128])),
        *(("true", True), ("None", None), ("mlp", "mlp"), ("[1, 2]", [1, 2])),
        *(('{"equation": 2}', {"equation": 2}), ("nan", "nan"), ("inf", "inf"), ("1+1", "1+1")),
    ],
)
def test_words_become_values_without_being_run(word, value):
    parsed = parse(word)
    assert parsed == value and type(parsed) is type(value)


def test_options_are_checked_against_the_types_of_the_method():
    assert method_options("spectral", {"resolution": [64, 32], "times": 1}) == {
        "resolution": (64, 32),
        "times": (1.0,),
    }
    options = method_options("pinn", {"weights": {"equation": 2}, "time_limit": 3})
    assert options == {"weights": {"equation": 2.0}, "time_limit": 3.0}
    assert type(options["time_limit"]) is float
    for name, value in [("width", "wide"), ("width", 2.5), ("width", True), ("network", 3)]:
        with pytest.raises(InvalidOption, match=name):
            method_options("pinn", {name: value})


def test_set_reaches_parameters_and_arguments_of_the_problem():
    assert find_problem("burgers", ["nu=0.25"]).find_parameter("nu").value == 0.25
    assert find_problem("convection", ["speed=7"]).find_parameter("c").value == 7
    assert len(find_problem("poisson", ["dim=4"]).coordinates) == 4


def test_the_name_of_a_problem_never_leaves_the_folder_for_runs():
    assert slug("../../etc/passwd") == "etc_passwd"
    assert slug("...") == "problem"


# ---------------------------------------------------------------------------------- problem files


def test_a_file_gives_the_problem_that_it_declares():
    path = write("one.py", DECLARATION + "heat = same = make('mine')\n")
    assert read_problem(path).name == "mine"
    path = write("two.py", DECLARATION + "a = make('a')\nproblem = make('b')\n")
    assert read_problem(path).name == "b"


def test_a_file_can_import_its_neighbours_and_leaves_the_path_as_it_was():
    write("neighbour_of_mine.py", DECLARATION)
    before = list(sys.path)
    path = write("main_file.py", "from neighbour_of_mine import make\nproblem = make('shared')\n")
    assert read_problem(path).name == "shared"
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", ["no pdeml.PDE", "problem = pdeml.PDE(...)"]),
        (DECLARATION + "first = make('a')\nsecond = make('b')\n", ["first, second", "'problem'"]),
        ("x = 1\n\ny = x / 0\n", ["line 3", "ZeroDivisionError", "division by zero"]),
        ("def f():\n    raise KeyError('deep')\n\nf()\n", ["line 2", "KeyError", "deep"]),
        ("x = (1\n", ["line 1", "SyntaxError"]),
        ("import sys\nsys.exit(3)\n", ["line 2", "SystemExit"]),
        ("import no_such_module\n", ["line 1", "ModuleNotFoundError", "no_such_module"]),
        (
            DECLARATION + "p = pdeml.PDE('p', [u.diff(t)], pdeml.Interval(x, 0, 1), [])\n",
            ["line 15", "InvalidProblem"],
        ),
    ],
)
def test_a_file_that_gives_no_problem_is_one_sentence(text, words):
    write("mine.py", text)
    message = refused("solve", "mine.py")
    assert "mine.py" in message
    for word in words:
        assert word in message
    assert not Path("runs").exists()


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["solve", "nosuch"], ["nosuch", "burgers", "poisson", ".py"]),
        (["solve", "nosuch.py"], ["nosuch.py"]),
        (["solve", "burgers", "--set", "mu=3"], ["'mu'", "nu=0.0031831"]),
        (["solve", "burgers", "--set", "nu=-3"], ["nu", "positive"]),
        (["solve", "burgers", "--set", "nu"], ["name=value"]),
        (["solve", "burgers", "--set", "nu=nan"], ["finite"]),
        (["solve", "poisson", "--set", "dim=2.5"], ["dim", "integer"]),
        (["solve", "burgers", "-m", "magic"], ["magic", ", ".join(solvers.METHODS)]),
        (["solve", "heat", "-m", "spectral"], ["spectral", "Dirichlet(u, 0)", "pinn"]),
        (["solve", "allen_cahn", "-m", "exact"], ["allen_cahn", "closed form"]),
        (["solve", "burgers", "--option", "magic=1"], ["magic", "recipe", "activation"]),
        (["solve", "burgers", "--option", "width=wide"], ["width", "'wide'", "int"]),
        (["solve", "burgers", "--option", "checkpoint=a"], ["checkpoint", "--resume"]),
        (["solve", "burgers", "--seed", "1", "--option", "seed=2"], ["seed", "twice"]),
        (["solve", "burgers", "-m", "spectral", "--recipe", "compact"], ["spectral", "recipe"]),
        (["solve", "burgers", "--dtype", "float32"], ["ssbroyden", "float64", "adam"]),
        (["solve", "burgers", "--option", "activation=relu"], ["relu", "order 2", "tanh"]),
        (["solve", "burgers", "--resume"], ["checkpoint.h5", "--out"]),
        (["solve", "burgers", "-m", "spectral", "--resume"], ["spectral", "--resume"]),
        (["compare", "heat", "--methods", "spectral"], ["heat", "Dirichlet(u, 0)"]),
        (["compare", "burgers", "--methods", "pinn,magic"], ["magic", "spectral"]),
        (["compare", "burgers", "--methods", ","], ["--methods"]),
        (["compare", "burgers", "--option", "magic=1"], ["magic", "resolution", "width"]),
        (["bench", "nosuch"], ["nosuch", "pinn-step"]),
    ],
)
def test_bad_input_is_one_sentence_that_names_item_and_mend(words, expected):
    message = refused(*words)
    for word in expected:
        assert word in message


def test_with_json_an_error_is_the_one_object_on_standard_output():
    result = run("solve", "burgers", "--set", "mu=3", "--json", code=2)
    found = json.loads(result.stdout)
    assert found["kind"] == "InvalidOption" and found["exit_code"] == 2
    assert "nu=0.0031831" in found["error"] and found["error"] in result.stderr


@pytest.mark.parametrize("command", ["solve", "compare"])
def test_an_unwritable_folder_is_refused_before_anything_is_computed(command, monkeypatch):
    def computed(*words, **options):
        raise AssertionError("it computed first")

    monkeypatch.setattr(solvers, "solve", computed)
    write("a_file", "")
    message = refused(command, "burgers", "--out", "a_file")
    assert "OutputError" in message and "a_file" in message and "--out" in message
    assert "a_file/below" in refused(command, "burgers", "--out", "a_file/below")


def test_a_full_disk_loses_nothing_that_was_saved(monkeypatch):
    run("solve", "heat", "-m", "exact", "--out", "kept")
    before = Path("kept/solution.h5").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refused("solve", "heat", "-m", "exact", "--set", "D=0.3", "--out", "kept")
    assert "OutputError" in message and "kept/solution.h5" in message
    assert Path("kept/solution.h5").read_bytes() == before
    assert {p.name for p in Path("kept").iterdir()} == {"solution.h5", "report.json", "figure.png"}


def test_a_run_that_diverges_is_one_sentence_and_exit_code_one():
    blow_up = DECLARATION + (
        "problem = pdeml.PDE('blow_up', [sp.Eq(u.diff(t), u**2 + u.diff(x, 2))],\n"
        "    pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),\n"
        "    [pdeml.Initial(u, 5 + sp.sin(2 * sp.pi * x)), pdeml.Periodic(u, x)])\n"
    )
    write("blow_up.py", blow_up)
    message = refused("solve", "blow_up.py", "-m", "spectral", "--resolution", "32", code=1)
    assert "DivergedError" in message


# ------------------------------------------------------------------------------------------- solve


def test_solve_writes_a_solution_a_report_and_a_figure(folder):
    result = run("solve", "heat", "-m", "exact", "--set", "D=0.3", "--out", "h")
    assert "error" in result.stdout.splitlines()[3]  # the first row after the heading
    solution = pdeml.load("h/solution.h5")
    assert solution.problem.find_parameter("D").value == 0.3
    points = solution.problem.domain.sample(50, engine.generator(1))
    expected = pdeml.solve(pdeml.problems.heat(diffusivity=0.3), "exact")(points)
    assert (solution(points) == expected).all()
    report = json.loads(Path("h/report.json").read_text())
    assert report["values"] == {"D": 0.3} and report["machine"]["torch"]
    assert Path("h/figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_error_is_measured_against_another_method():
    result = run("solve", "convection", "-m", "spectral", "--json", "--quiet")
    found = json.loads(result.stdout)
    report = found["report"]
    assert report["reference"] == "exact" and report["error"]["l2_relative"] < 1e-8
    assert set(found["files"]) == {"solution", "report", "figure"}
    saved = pdeml.load(found["files"]["solution"])
    exact = pdeml.solve(pdeml.problems.convection(), "exact")
    assert saved.error(exact) == pytest.approx(report["error"], rel=1e-6, abs=1e-13)


def test_an_error_without_reference_is_unknown_not_small():
    write("mine.py", DECLARATION + "problem = make('mine')\n")
    result = run("solve", "mine.py", "-m", "spectral")
    first = next(line for line in result.stdout.splitlines() if "error" in line)
    assert "unknown: no independent reference" in first


def test_json_is_one_object_and_everything_else_goes_to_standard_error():
    result = run("solve", "heat", "-m", "exact", "--json")
    found = json.loads(result.stdout)
    assert found["problem"] == "heat" and found["method"] == "exact"
    assert "closed form" in result.stderr and "solving" in result.stderr
    assert run("solve", "heat", "-m", "exact", "--quiet").output == ""


def test_a_training_that_has_not_converged_ends_with_one_and_resumes_to_the_same_end():
    """20 iterations and 20 more are 40 iterations: optimizer, points and generator are kept."""
    words = ["solve", "burgers", *TINY_SOLVE, "--json", "--quiet", "--seed", 3]
    whole = json.loads(run(*words, "--max-iterations", 40, "--out", "whole", code=1).stdout)
    run(*words, "--max-iterations", 20, "--out", "parts", code=1)
    first = pdeml.load("parts/solution.h5").history["time"]
    parts = json.loads(
        run(*words, "--max-iterations", 40, "--out", "parts", "--resume", code=1).stdout
    )
    assert whole["report"]["converged"] is False
    assert whole["report"]["reference"] == "exact" and whole["report"]["error"]["linf"] > 0.1
    assert parts["report"]["iterations"] == whole["report"]["iterations"] == 40
    ended = [pdeml.load(f"{name}/solution.h5").history["loss"][-1] for name in ("whole", "parts")]
    assert ended[0] == pytest.approx(ended[1], abs=1e-6)
    assert parts["files"]["checkpoint"] == "parts/checkpoint.h5"
    # no clock ticks alike twice: the second run began where the first one ended
    assert pdeml.load("parts/solution.h5").history["time"][: len(first) - 1] == first[:-1]


# ----------------------------------------------------------------------------------------- compare


def test_compare_gives_a_table_figures_and_one_html_file():
    words = ["compare", "heat", "--methods", "exact,spectral,pinn", "--max-iterations", 20, *TINY]
    result = run(*words, "--out", "c", code=1)
    lines = result.stdout.splitlines()
    assert "heat: error against exact" in lines[0]
    assert lines[-1] == "report: c/report.html"
    rows = [line for line in lines if line.startswith("│")]
    assert "closed form" in rows[0]
    assert any("Dirichlet(u, 0)" in line for line in rows)
    pinn = pdeml.load("c/pinn/solution.h5")
    error = pinn.error(pdeml.load("c/exact/solution.h5"))["l2_relative"]
    (row,) = [line for line in rows if line.startswith("│ pinn")]
    assert f"{error:.1e}" in row and "NO" in row
    page = Path("c/report.html").read_text(encoding="utf-8")
    assert f"{error:.1e}" in page and "Dirichlet(u, 0)" in page
    assert page.count("data:image/png;base64,") == 3  # exact, pinn, history
    for name in ("c/exact/figure.png", "c/pinn/figure.png", "c/history.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    assert not Path("c/spectral").exists()


def test_compare_measures_against_the_best_reference_where_there_is_no_closed_form():
    write("mine.py", DECLARATION + "problem = make('mine')\n")
    words = ["compare", "mine.py", "--methods", "spectral,pinn", "--max-iterations", 20, *TINY]
    found = json.loads(run(*words, "--json", "--quiet", code=1).stdout)
    assert found["reference"] == "spectral" and found["html"] == "runs/mine/report.html"
    spectral, pinn = found["methods"]
    assert spectral["report"]["reference"] == "self-convergence"
    assert pinn["report"]["reference"] == "spectral" and pinn["report"]["error"]["linf"] > 0
    assert pinn["options"]["max_iterations"] == 20


def test_trained_methods_get_a_time_limit_in_a_comparison():
    assert share(["spectral", "pinn"], {}) == {
        "spectral": {},
        "pinn": {"time_limit": TRAINING_SECONDS},
    }
    given = {"max_iterations": 5, "resolution": 64, "pinn.width": 7, "device": "cpu"}
    assert share(["spectral", "pinn"], given) == {
        "spectral": {"resolution": 64, "device": "cpu"},
        "pinn": {"max_iterations": 5, "width": 7, "device": "cpu"},
    }


# ---------------------------------------------------------------------- problems, methods, doctor


def test_problems_lists_every_problem_with_the_methods_that_can():
    found = json.loads(run("problems", "--json").stdout)["problems"]
    assert [entry["name"] for entry in found] == list(pdeml.problems.names())
    by_name = {entry["name"]: entry for entry in found}
    able = by_name["burgers"]["methods"]
    assert able == [m for m in solvers.METHODS if m in able]
    assert {"exact", "spectral", "pinn"} <= set(able) and "chebyshev" not in able
    assert by_name["kdv"]["reference"] == "spectral"
    assert by_name["heat"]["equations"] == ["u_t = D*u_xx"]
    text = run("problems").stdout
    assert all(name in text for name in by_name)


def test_methods_lists_what_each_takes():
    found = json.loads(run("methods", "--json").stdout)["methods"]
    assert [entry["name"] for entry in found] == list(solvers.METHODS)
    (pinn,) = (entry for entry in found if entry["name"] == "pinn")
    assert {"recipe", "seed", "width"} <= set(pinn["options"])
    assert "checkpoint" not in found[-1]["options"]
    text = run("methods").stdout
    assert "recipe=compact" in text


def test_the_doctor_finds_this_machine_ready():
    found = json.loads(run("doctor", "--json").stdout)
    by_name = {check["name"]: check for check in found["checks"]}
    assert found["ready"] and by_name["float64 on cpu"]["ok"]
    assert by_name["writable folder"]["ok"]


def test_the_doctor_says_what_to_do_and_ends_with_one(monkeypatch):
    monkeypatch.setattr(doctor_command, "TORCH", (99, 0))
    monkeypatch.setattr(doctor_command, "OPTIONAL", {"no_such": ("x", "pip install x", "magic")})
    result = run("doctor", code=1)
    assert "FAILS" in result.stdout and "pip install 'torch>=2.11'" in result.stdout
    assert "pip install x" in result.stdout and "missing: magic" in result.stdout


def test_the_float64_check_sees_single_precision():
    cpu = torch.device("cpu")
    assert doctor_command.rounding_error(cpu) < doctor_command.ROUNDING
    assert doctor_command.rounding_error(cpu, torch.float32) > 1000 * doctor_command.ROUNDING


def test_bench_prints_the_result_of_the_suite(monkeypatch):
    suite = SimpleNamespace(
        run=lambda progress: {"ratio": 2.5}, table=lambda result: Table("ratio")
    )
    monkeypatch.setattr(bench_command, "SUITES", {"toy": "toy_suite"})
    monkeypatch.setitem(sys.modules, "toy_suite", suite)
    result = run("bench", "toy", "--json")
    assert json.loads(result.stdout) == {"ratio": 2.5}
    assert "ratio" in run("bench", "toy").stdout


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout.strip() == pdeml.__version__


# ------------------------------------------------------------------------------------------ Ctrl-C


def until(terminal: int, word: bytes, seconds: float) -> bytes:
    """Read a terminal until a word was shown."""
    shown, end = b"", time.monotonic() + seconds
    while word not in shown:
        left = end - time.monotonic()
        assert left > 0, shown.decode(errors="replace")
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 65536)
    return shown


def test_ctrl_c_keeps_the_best_state_and_resume_continues_it(folder):
    """The bar is on the terminal; SIGINT ends the run at once with files that load."""
    ours, theirs = pty.openpty()
    words = ["solve", "burgers", "--method", "pinn", "--out", "i", *TINY_SOLVE]
    process = subprocess.Popen(
        [sys.executable, "-c", "from pdeml.cli import main; main()", *words],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "150"},
    )
    os.close(theirs)
    try:
        until(ours, b"loss", 120)
        process.send_signal(signal.SIGINT)
        until(ours, b"checkpoint.h5", 60)
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    report = json.loads(Path("i/report.json").read_text())
    assert report["interrupted"] and report["report"]["converged"] is False
    done = report["report"]["iterations"]
    solution = pdeml.load("i/solution.h5")
    assert done >= 10 and solution.history["iteration"][-1] == done
    more = json.loads(
        run(
            "solve", "burgers", "--out", "i", *TINY_SOLVE, "--max-iterations", done + 15,
            "--resume", "--json", "--quiet", code=1,
        ).stdout
    )  # fmt: skip
    assert more["report"]["iterations"] == done + 15 and not more["interrupted"]


def test_ctrl_c_while_a_method_trains_leaves_out_the_next_ones(monkeypatch):
    """A training that was interrupted returns what it has; the comparison ends there."""
    real = solvers.solve

    def trained(problem, method, **options):
        solution = real(problem, method, **options)
        if method == "spectral":
            solution.report.interrupted, solution.report.converged = True, False
        return solution

    monkeypatch.setattr(solvers, "solve", trained)
    words = ["compare", "convection", "--methods", "spectral,exact,pinn", "--out", "c", "--json"]
    found = json.loads(run(*words, code=1).stdout)["methods"]
    assert found[0]["interrupted"] and Path("c/spectral/solution.h5").is_file()
    assert all("interrupted" in entry["reason"] for entry in found[1:])


def test_ctrl_c_before_there_is_a_state_is_one_sentence(monkeypatch):
    def stopped(*words, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(solvers, "solve", stopped)
    assert "Ctrl-C" in refused("solve", "burgers", code=1)


def test_ctrl_c_in_a_comparison_keeps_what_is_done(monkeypatch):
    real = solvers.solve

    def stopped(problem, method, **options):
        if method == "spectral":
            raise KeyboardInterrupt
        return real(problem, method, **options)

    monkeypatch.setattr(solvers, "solve", stopped)
    result = run("compare", "burgers", "--methods", "exact,spectral,pinn", "--out", "c", code=1)
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert "closed form" in rows[0] and "interrupted" in rows[1] and "not run" in rows[2]
    assert Path("c/exact/solution.h5").is_file() and Path("c/report.html").is_file()


def test_interfering_words_of_click_end_with_two():
    assert run("solve", code=2).stdout == ""
    assert run("solve", "burgers", "--seed", "one", code=2).stdout == ""
    with pytest.raises(InvalidProblem):
        find_problem("no/such/file.py")
