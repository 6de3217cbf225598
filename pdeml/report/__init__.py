"""Reports: what runs say about themselves, as tables, figures and HTML."""

from pdeml.report.html import comparison, sheet
from pdeml.report.summary import COLUMNS, Entry, history_figure, report_rows, row

__all__ = ["COLUMNS", "Entry", "comparison", "history_figure", "report_rows", "row", "sheet"]
