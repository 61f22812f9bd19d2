"""Registry of export formats beside the SavedModel."""

from dermrobust.attacks.plugins import Registry

EXPORTERS = Registry(
    "export format",
    {
        "litert": "dermrobust.components.export.formats.litert:LiteRT",
        "onnx": "dermrobust.components.export.formats.onnx:ONNX",
    },
)
"""Subclasses of `dermrobust.components.export.formats.exporter.Exporter`."""
