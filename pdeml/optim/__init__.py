"""Optimizers that reach the round-off floor of least-squares losses: real torch optimizers."""

from pdeml.optim.lbfgs import LBFGS
from pdeml.optim.levenberg_marquardt import LevenbergMarquardt
from pdeml.optim.soap import SOAP
from pdeml.optim.ssbroyden import SSBroyden

__all__ = ["LBFGS", "SOAP", "LevenbergMarquardt", "SSBroyden"]
