"""On a desk: execute a notebook from top to bottom and print it as HTML, also where a cell fails."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

path = Path(sys.argv[1])
if not path.is_file():
    sys.exit(f"there is no {path} in the project folder")
notebook = nbformat.read(path, as_version=4)
client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}})
failure = ""
try:
    client.execute()
except CellExecutionError as error:
    failure = str(error)
page, _ = HTMLExporter().from_notebook_node(notebook)
sys.stdout.buffer.write(page.encode())
if failure:
    sys.exit(failure)
