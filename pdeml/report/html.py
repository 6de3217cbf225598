"""One self-contained HTML file about runs on one problem: no network, no scripts, light and dark.

Every text is escaped, pictures are data URLs, formulas are MathML, and a content security policy
forbids the browser to load anything else.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pdeml.operators.pde import PDE
from pdeml.report.mathml import condition_markup, domain_markup, mathml
from pdeml.report.summary import COLUMNS, Entry, report_rows, row

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --quiet: #5b6576; --page: #ffffff;
  --card: #f4f6f9; --line: #d5dbe4; --good: #1a7f37; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ef; --quiet: #9aa5b5; --page: #14181f;
  --card: #1d232c; --line: #353e4b; --good: #57c878; --bad: #ff8a7a; } }
body { color: var(--text); background: var(--page); max-width: 72rem; margin: 2rem auto;
  padding: 0 1.2rem; font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin-bottom: .4rem; }
.quiet { color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; }
table.results { width: 100%; }
table.results th, table.facts th { overflow-wrap: normal; }
table.facts th { color: var(--quiet); font-weight: 400; white-space: nowrap; }
td.yes { color: var(--good); font-weight: 600; } td.NO { color: var(--bad); font-weight: 600; }
figure { margin: 1rem 0; padding: .6rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: .5rem; }
figure img { display: block; width: 100%; height: auto; }
math[display="block"] { margin: .8rem 0; font-size: 1.2rem; overflow: auto hidden;
  padding: .3rem 0; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--quiet); }
pre { background: var(--card); padding: .8rem; border-radius: .5rem; overflow-x: auto;
  font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def comparison(
    problem: PDE,
    entries: Sequence[Entry],
    reference: str | None,
    *,
    machine: Mapping[str, Any],
    history: bytes | None = None,
) -> str:
    """A report on several methods for one problem.

    Parameters
    ----------
    problem : what was solved.
    entries : one per method, in the order of the table.
    reference : name of the method that errors are measured against; None where there is none.
    machine : hardware and versions, label -> value.
    history : PNG of the training histories.

    Returns
    -------
    str
        A whole HTML file, well-formed as XML too.
    """
    title = f"{problem.name}: {', '.join(e.method for e in entries)}"
    measured = (
        f"Errors are measured against “{escape(reference)}”."
        if reference
        else "There is no independent reference for this problem: errors are unknown."
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">{escape(problem.description)}</p>' if problem.description else "",
        _results(entries),
        f'<p class="quiet">{measured} A small loss is not a small error.</p>',
        *_problem(problem),
        *(part for entry in entries for part in _method(entry)),
        "<h2>Training</h2>" + _picture(history, "Loss, residual and error over time")
        if history
        else "",
        "<h2>Machine and versions</h2>",
        _facts((name, str(value)) for name, value in machine.items() if value is not None),
    ]
    return _page(title, "\n".join(part for part in parts if part))


def sheet(
    title: str,
    rows: Sequence[tuple[str, str]],
    pictures: Sequence[tuple[bytes, str]],
    sections: Mapping[str, Sequence[tuple[str, str]]],
    remark: str = "",
) -> str:
    """A report of one table of figures, pictures, and tables of details.

    Parameters
    ----------
    title : heading.
    rows : label and text of each figure.
    pictures : PNG and caption.
    sections : heading -> label and text of each detail.
    remark : below the first table.

    Returns
    -------
    str
        A whole HTML file, well-formed as XML too.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(rows),
        f'<p class="quiet">{escape(remark)}</p>' if remark else "",
        *(_picture(png, caption) for png, caption in pictures),
        *(f"<h2>{escape(name)}</h2>" + _facts(facts) for name, facts in sections.items()),
    ]
    return _page(title, "\n".join(part for part in parts if part))


def _page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}"/>
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _results(entries: Sequence[Entry]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    lines = []
    for entry in entries:
        cells = []
        for name, text in zip(COLUMNS, row(entry), strict=True):
            marked = name == "converged" and text in ("yes", "NO")
            cells.append(f"<td{f' class="{text}"' if marked else ''}>{escape(text)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table class="results"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of label and text."""
    lines = (f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows)
    return f'<div class="wide"><table class="facts"><tbody>{"".join(lines)}</tbody></table></div>'


def _picture(png: bytes | None, caption: str) -> str:
    if png is None:
        return ""
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}"/></figure>'
        f'<p class="quiet">{escape(caption)}</p>'
    )


def _problem(problem: PDE) -> list[str]:
    conditions = "".join(
        f"<li>{condition_markup(c, problem.domain)}</li>" for c in problem.conditions
    )
    values = [
        (p.name, "unknown" if p in problem.unknowns or p.value is None else f"{p.value:.10g}")
        for p in problem.parameters
    ]
    exact = [
        f"<li>{mathml(f)} = {mathml(expression)}</li>"
        for f, expression in (problem.exact or {}).items()
    ]
    return [
        "<h2>Problem</h2>",
        *(mathml(equation, display=True) for equation in problem.equations),
        f"<p>{domain_markup(problem.domain)}</p>",
        f"<h3>Conditions</h3><ul>{conditions}</ul>" if conditions else "",
        "<h3>Parameters</h3>" + _facts(values) if values else "",
        f"<h3>Closed form</h3><ul>{''.join(exact)}</ul>" if exact else "",
        _folded("LaTeX source", problem.latex()),
        _folded("Declaration as JSON (pdeml.PDE.from_json reads it)", problem.to_json()),
    ]


def _folded(summary: str, text: str) -> str:
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"


def _method(entry: Entry) -> list[str]:
    head = f"<h2>{escape(entry.method)}</h2>"
    if entry.solution is None:
        return [head, f"<p>{escape(entry.reason)}</p>"]
    options = [(k, str(v)) for k, v in entry.solution.options.items() if v is not None]
    caption = f"Solution by {entry.method}"
    return [
        head,
        _picture(entry.figure, caption),
        _facts(report_rows(entry.solution)),
        "<h3>Options</h3>" + _facts(options) if options else "",
        "<h3>Files</h3>" + _facts(entry.files.items()) if entry.files else "",
    ]
