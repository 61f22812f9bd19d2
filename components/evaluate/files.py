"""Names of the files of evaluation and blessing artifacts."""

TFMA = "tfma"
"""Folder of TFMA's own output, for its loaders."""
METRICS = "metrics.parquet"
"""All metrics in long form; see `table.metrics_table`."""
BLESSING = "blessing.json"
"""What was asked of the candidate, and what was found."""
