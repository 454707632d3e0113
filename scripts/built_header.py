#!/usr/bin/env python3
"""Prints the path of the C header that a build made. Reads cargo's JSON messages from standard input.

Old builds leave their headers in the target folder too. Only cargo knows which header is the current one.
"""

import json
import pathlib
import sys

header = None
for line in sys.stdin:
    message = json.loads(line)
    if message.get("reason") != "build-script-executed":
        continue
    candidate = pathlib.Path(message["out_dir"]) / "cwl_sink.h"
    if candidate.exists():
        header = candidate
if header is None:
    sys.exit("built_header.py: the build made no cwl_sink.h")
print(header)
