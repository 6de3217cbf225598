"""The HTML report: whole by itself, well-formed, escaped, and true to the runs."""

import base64
import re
import xml.etree.ElementTree as ET

import pytest
import sympy as sp

import pdeml
from pdeml.report import COLUMNS, Entry, comparison, history_figure, report_rows, row
from pdeml.report.mathml import condition_markup, domain_markup, mathml
from pdeml.solvers import Report, Solution

MATHML = "{http://www.w3.org/1998/Math/MathML}"
PNG = b"\x89PNG\r\n\x1a\n rest of a picture"
HOSTILE = "</style><script>alert('1')</script> & \"quoted\" [b]"

x, t = sp.symbols("x t", real=True)


def hostile_problem() -> pdeml.PDE:
    u = pdeml.Field("u<b>", x, t)
    nu = pdeml.Parameter("nu<i>", 0.5)
    return pdeml.PDE(
        HOSTILE,
        [sp.Eq(u.diff(t), nu * u.diff(x, 2))],
        pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
        [
            pdeml.Initial(u, sp.sin(sp.pi * x)),
            pdeml.Dirichlet(u, 0, on="left"),
            pdeml.Dirichlet(u, 0, on=(x > 0.5)),
        ],
        description=HOSTILE,
    )


@pytest.fixture(scope="module")
def heat() -> Solution:
    return pdeml.solve(pdeml.problems.heat(), "exact")


def with_report(solution: Solution, **changes) -> Solution:
    report = Report("pinn", **{"wall_time": 12.34, "parameters_count": 1234567, **changes})
    return Solution(solution.problem, "pinn", solution.field, config={}, report=report)


def parse(text: str) -> ET.Element:
    """The file as XML: fails for any unclosed tag or unescaped character."""
    assert text.startswith("<!DOCTYPE html>")
    return ET.fromstring(text)


def test_the_report_is_well_formed_and_loads_nothing(heat):
    entries = [Entry("exact", heat, figure=PNG, files={"solution": "runs/a&b/solution.h5"})]
    page = parse(comparison(heat.problem, entries, "exact", machine={"cores": 2}, history=PNG))
    tags = {element.tag.removeprefix(MATHML) for element in page.iter()}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for element in page.iter():
        assert not {"href", "srcset", "action"} & set(element.attrib)
        assert not any(name.startswith("on") for name in element.attrib)
    pictures = [element.attrib["src"] for element in page.iter("img")]
    assert len(pictures) == 2
    head = "data:image/png;base64,"
    assert all(base64.b64decode(p.removeprefix(head), validate=True) == PNG for p in pictures)
    (policy,) = [
        m.attrib["content"] for m in page.iter("meta") if "http-equiv" in m.attrib
    ]  # the browser may not load anything either
    assert "default-src 'none'" in policy and "script" not in policy
    assert "url(" not in (page.findtext(".//style") or "")


def test_every_text_is_escaped(heat):
    problem = hostile_problem()
    other = with_report(heat, notes=[HOSTILE], engine=HOSTILE)
    other.options = {HOSTILE: HOSTILE}
    entries = [
        Entry("pinn", other, files={"solution": HOSTILE}),
        Entry("<b>fem</b>", reason=HOSTILE),
    ]
    page = parse(comparison(problem, entries, HOSTILE, machine={HOSTILE: HOSTILE}))
    assert not list(page.iter("script")) and not list(page.iter("b")) and not list(page.iter("i"))
    assert (page.findtext("head/title") or "").startswith(HOSTILE)
    assert HOSTILE in "".join(page.itertext())


def test_the_table_tells_what_the_reports_tell(heat):
    solved = with_report(
        heat, converged=False, error={"l2_relative": 3.21e-5, "linf": 4.5e-4}, reference="exact"
    )
    unknown = with_report(heat, converged=True)
    entries = [
        Entry("pinn", solved),
        Entry("other", unknown),
        Entry("fem", reason="it has no mesh", supported=False),
    ]
    page = parse(comparison(heat.problem, entries, "exact", machine={}))
    table = next(e for e in page.iter("table") if e.attrib.get("class") == "results")
    cells = [[c.text or "" for c in line] for line in table.iter("tr")]
    assert tuple(cells[0]) == COLUMNS
    assert cells[1][:3] == ["pinn", "3.2e-05", "4.5e-04"]
    assert cells[1][3] == "12.3 s" and re.sub(r"\D", "", cells[1][4]) == "1234567"
    assert cells[1][5] == "NO"
    assert cells[2][1:3] == ["unknown", "unknown"] and cells[2][5] == "yes"
    assert cells[3][-1] == "it has no mesh"
    assert [tuple(line) for line in cells[1:]] == [row(entry) for entry in entries]


def test_an_estimate_of_the_method_itself_is_not_shown_as_an_error(heat):
    """Self-convergence is no independent reference: the first row must say unknown."""
    own = with_report(heat, error={"l2_relative": 1e-9, "linf": 1e-9}, reference="self-convergence")
    rows = report_rows(own)
    assert rows[0][0] == "error" and rows[0][1].startswith("unknown")
    assert ("error l2_relative", "1.00e-09 (against self-convergence)") in rows[1:]
    assert row(Entry("spectral", own))[-1] == "error: estimate of the method itself"


def test_the_error_against_a_reference_comes_first(heat):
    known = with_report(heat, error={"l2_relative": 2e-3, "linf": 1e-2}, reference="spectral")
    assert report_rows(known)[0] == ("error l2_relative", "2.00e-03 (against spectral)")
    assert report_rows(heat)[0] == ("error", "0: this is the closed form")


def test_the_problem_is_there_as_formulas_and_as_latex(heat):
    page = parse(comparison(heat.problem, [Entry("exact", heat)], "exact", machine={}))
    assert len(list(page.iter(f"{MATHML}mfrac"))) >= 2
    folded = {d.findtext("summary"): d.findtext("pre") for d in page.iter("details")}
    assert folded["LaTeX source"] == heat.problem.latex()
    (declaration,) = [text for name, text in folded.items() if "JSON" in str(name)]
    assert pdeml.PDE.from_json(str(declaration)) == heat.problem


def shape(markup: str) -> str:
    """Markup without tags, fractions as (a)/(b) and powers as a^b."""

    def flat(node: ET.Element) -> str:
        parts = [flat(child) for child in node]
        match node.tag.removeprefix(MATHML):
            case "mfrac":
                return f"({parts[0]})/({parts[1]})"
            case "msup":
                return f"{parts[0]}^{parts[1]}"
        return (node.text or "") + "".join(parts)

    return flat(ET.fromstring(markup)).replace("\N{INVISIBLE TIMES}", "·")


def test_derivatives_carry_their_order_at_the_right_place():
    u = pdeml.Field("u", x, t)
    assert shape(mathml(u.diff(x, 2))) == "(∂^2u)/(∂x^2)"
    assert shape(mathml(u.diff(t))) == "(∂u)/(∂t)"
    mixed = shape(mathml(u.diff(x, 2, t)))
    assert mixed in ("(∂^3u)/(∂x^2∂t)", "(∂^3u)/(∂t∂x^2)")
    assert shape(mathml(u * u.diff(x))) == "u·(∂u)/(∂x)"
    assert shape(mathml(u.diff(x) ** 2)) == "((∂u)/(∂x))^2"
    assert shape(mathml(pdeml.BurgersSine(x, t, sp.pi))) == "BurgersSine(x,t,π)"
    assert shape(mathml(sp.Float(2.5e-7) * x)) == "2.5·10^-7·x"
    assert shape(mathml(sp.Eq(u**2, pdeml.Parameter("nu", 1)))) == "u^2=ν"


def test_conditions_say_where_they_hold():
    u = pdeml.Field("u", x, t)
    domain = pdeml.Interval(x, -1, 1) * pdeml.Time(t, 0, 1)

    def told(condition) -> str:
        return re.sub(
            r"<math.*?</math>", lambda m: shape(m[0]), condition_markup(condition, domain)
        )

    assert told(pdeml.Initial(u.diff(t), x)) == "(∂u)/(∂t)=x at t=0"
    assert told(pdeml.Neumann(u, 1, on="left")) == "(∂u)/(∂n)=1 on left"
    assert told(pdeml.Dirichlet(u, 0, on=x < 0)) == "u=0 on the boundary where x<0"
    assert told(pdeml.Robin(u, 2, 3, 4)) in (
        "2·u+3·(∂u)/(∂n)=4 on the boundary",
        "3·(∂u)/(∂n)+2·u=4 on the boundary",
    )
    assert told(pdeml.Periodic(u, x)) == "u periodic in x"
    assert "in [-1, 1]" in domain_markup(domain) and "in [0, 1]" in domain_markup(domain)


def test_histories_share_one_figure_and_leave_unknown_values_out(heat):
    nan = float("nan")
    one, two = with_report(heat), with_report(heat)
    one.history = {
        "time": [1.0, 2.0, 3.0],
        "loss": [1.0, 0.5, 0.1],
        "validation": [nan, 0.4, nan],
        "error": [nan, nan, nan],
    }
    two.history = {"time": [1.0, 2.0], "loss": [2.0, 1.0]}
    figure = history_figure([one, two, heat])
    assert figure is not None
    loss, fresh, error = figure.axes
    assert [len(line.get_xdata()) for line in loss.lines] == [3, 2]
    assert [list(line.get_xdata()) for line in fresh.lines] == [[2.0], []]
    assert loss.get_yscale() == "log" and loss.get_xlabel() == "time [s]"
    assert "not measured" in {text.get_text() for text in error.texts}
    assert history_figure([heat]) is None
