"""Filters on ports, as Python sees them: options in, files and connections opened; the worker filters."""

from wirebay.filters.base import Filter
from wirebay.filters.chardev import Chardev

__all__ = ["Chardev", "Filter"]
