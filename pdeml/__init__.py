"""pdeml: declare a partial differential equation once, solve it by every method."""

__version__ = "0.1.0"
