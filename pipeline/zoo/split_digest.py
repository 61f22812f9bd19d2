"""Digest of a set of images, from their files alone; importable without TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from dermrobust.components.audit.labels import read_labels
from dermrobust.components.audit.matching import image_files, matched
from dermrobust.pipeline.audit_settings import Audit
from dermrobust.pipeline.zoo.verifying import file_digest


def combined_digest(images: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a set of images, whatever their order.

    It is the SHA-256 of one line "<SHA-256 of the file>  <image id>" for each image, sorted by image id, in UTF-8 and
    each with a line feed: the format of `sha256sum`, with ids for names. Files are digested as they were published, so
    the digest does not depend on the size at which a network sees them.

    Args:
        images: id and SHA-256 of the file of each image.
    """
    lines = (f"{digest}  {name}\n" for name, digest in sorted(images))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def audited_digest(audit: Audit) -> str:
    """Return the digest of the images that an audit evaluates; see `combined_digest`.

    Raises:
        UserError: images and labels cannot be read, or do not match.
    """
    labels, files = read_labels(audit.labels), image_files(audit.data)
    rows = matched(labels, files, audit.classes or labels.class_names)[: audit.limit]
    return combined_digest((row.image_id, file_digest(files[row.image_id])) for row in rows)
