"""Trust roots, for libraries that take them by file name only."""

import functools
import tempfile

_folder = tempfile.TemporaryDirectory(prefix="entracache-driver-")


@functools.cache
def ca_file(pem):
    """A file lives as long as the process, as an application's would."""
    with tempfile.NamedTemporaryFile("w", dir=_folder.name, suffix=".pem", delete=False) as file:
        file.write(pem)
    return file.name
