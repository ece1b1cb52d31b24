"""On a desk: execute a notebook from top to bottom and print it as HTML, also where a cell fails."""

import os
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

answer = os.dup(1)
os.dup2(2, 1)  # what the kernel's own children print is no part of the page

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
except DeadKernelError:
    failure = "the kernel ended while a cell was running: it crashed, or took more memory than there is"
except NoSuchKernel as error:
    failure = (
        f"the notebook wants the kernel `{error.name}`, which this desk has not; choose Python 3 and save it"
    )
page, _ = HTMLExporter().from_notebook_node(notebook)
with open(answer, "wb") as file:
    file.write(page.encode())
if failure:
    sys.exit(failure)
