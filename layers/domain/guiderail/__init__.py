"""Guiderail: what happens after an ML monitor finishes.

Layers, each importing only those above it: ``model`` and ``errors`` (values), ``reports`` (readers of
the files a run leaves), ``services`` (use cases over ``ports``), ``adapters`` (AWS), ``bootstrap``.
"""

__version__ = "0.1.0"
