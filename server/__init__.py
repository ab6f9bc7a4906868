"""The HTTP and WebSocket server; the only place that wires things together."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Data folders (sql, migrations) lie beside the packages: in a checkout, in an
# editable installation and in a wheel alike.
ROOT = Path(__file__).resolve().parent.parent

try:
    __version__ = version("boardcast")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"
