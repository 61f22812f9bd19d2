"""Implementation of the Python API; `dermrobust` hands its names on."""
