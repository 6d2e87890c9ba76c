"""Other libraries, in an environment of their own (`make bench` creates it): they are asked by one line of JSON each time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("PEERS") or HERE.parent / ".venv-peers") / "bin/python"


def versions(python: Path, *names: str) -> dict[str, str]:
    """{package: version} in the peers' environment; a package, or the whole environment, that is not there has none."""
    if not python.exists():
        return {}
    ask = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"  # noqa: E501
    found = json.loads(subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout)
    return {name: found[name] for name in names if name in found}


def absent(python: Path, *names: str) -> str | None:
    """Why there is nothing to compare with; None where everything is there."""
    missing = [name for name in names if name not in versions(python, *names)]
    return f"needs {' and '.join(missing)} at {python} (`make bench` installs it)" if missing else None


class Peer:
    """``script --serve`` in the peers' environment."""

    def __init__(self, python: Path, script: str, *flags: str):
        command = [str(python), str(HERE / script), "--serve", *flags]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **question: Any) -> dict[str, Any]:
        """One turn."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the peer's process has no pipes")
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the peer's process ended; its own message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.communicate()


def serve(answer: Callable[..., dict[str, Any]]) -> None:
    """In the peers' process: a line in, one turn, a line out. What libraries print goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=out, flush=True)
