"""Prints a template with its @KEY@s filled in: ``render.py FILE KEY=VALUE...``."""

from __future__ import annotations

import sys
from pathlib import Path

text = Path(sys.argv[1]).read_text()
for pair in sys.argv[2:]:
    key, _, value = pair.partition("=")
    text = text.replace(f"@{key}@", value)
sys.stdout.write(text)
