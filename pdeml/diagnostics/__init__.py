"""What a solution or a trained network is like, whatever method made it."""

from pdeml.diagnostics.landscape import Landscape, landscape
from pdeml.diagnostics.nwidth import NWidth, modes_needed, nwidth

__all__ = ["Landscape", "NWidth", "landscape", "modes_needed", "nwidth"]
