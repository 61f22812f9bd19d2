"""Image files that are accepted wherever photographs enter: by ingest and by the exported model."""

ACCEPTED = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "BMP": b"BM", "GIF": b"GIF8"}
"""First bytes of each format, by its name in Pillow, as `tf.io.decode_image` recognizes it.

Of a GIF only the first frame is read.
"""

MAX_PIXELS = 50_000_000
"""Largest height times width that is decoded.

It is more than any dermatoscope records. A file of a few kilobytes can claim far more (a decompression bomb).
"""
