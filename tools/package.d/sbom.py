"""sbom.py FILE: of a CycloneDX document of a whole environment, leave vifplug and what it needs, directly or not."""

from __future__ import annotations

import json
import pathlib
import sys


def main() -> None:
    """The command."""
    file = pathlib.Path(sys.argv[1])
    document = json.loads(file.read_text())
    own = next(component for component in document["components"] if component["name"] == "vifplug")
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    reached, waiting = set(), [own["bom-ref"]]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += needs.get(ref, [])
    document["components"] = [
        component for component in document["components"] if component["bom-ref"] in reached and component is not own
    ]
    document["dependencies"] = [entry for entry in document["dependencies"] if entry["ref"] in reached]
    document["metadata"]["component"] = own
    file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
