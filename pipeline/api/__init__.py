"""Implementation of the Python API, whose names `dermrobust` exports."""
