"""On a desk: import a module, and print how many seconds that took and which version it has."""

import importlib
import importlib.metadata
import json
import sys
import time

name = sys.argv[1]
begin = time.perf_counter()
module = importlib.import_module(name)
seconds = time.perf_counter() - begin
version = getattr(module, "__version__", None)
if not isinstance(version, str):
    try:
        version = importlib.metadata.version(name.partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        version = ""
print("\n" + json.dumps({"seconds": seconds, "version": version}))
