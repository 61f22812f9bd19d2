"""Robustness evaluation and hardening of medical image classifiers."""

from dermrobust.version import __version__

__all__ = ["__version__"]
