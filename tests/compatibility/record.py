"""Records what the faces of a commit say: ``python -m tests.compatibility.record COMMIT NAME``.

It checks the commit out beside the working tree and runs ``faces.py`` there with this environment's Python. NAME is the
release, whose folder of tests/samples/compatibility the answers go to. A recorded release is never recorded again.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

from tests.compatibility import faces

REPOSITORY = pathlib.Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests" / "samples" / "compatibility"


def record(commit: str, directory: pathlib.Path) -> None:
    """Write one file for each face."""
    directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=REPOSITORY, check=True)
        try:
            for face in faces.FACES:
                argv = [sys.executable, faces.__file__, face]
                done = subprocess.run(
                    argv, cwd=tree, env={"PYTHONPATH": tree, "LC_ALL": "C.UTF-8"}, check=True, stdout=subprocess.PIPE
                )
                (directory / f"{face}.json").write_bytes(done.stdout + b"\n")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=REPOSITORY, check=True)


if __name__ == "__main__":
    record(sys.argv[1], RECORDED / sys.argv[2])
