#!/usr/bin/env python3
"""Names the C header that a build made: reads cargo's JSON messages, prints the path.

Old builds leave their headers in the target folder too, so it is cargo that has to say which one is current.
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
