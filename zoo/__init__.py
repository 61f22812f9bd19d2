"""Trained models, one folder each: `<task>/<name>/` with its weights, card and config; see docs/zoo.md."""
