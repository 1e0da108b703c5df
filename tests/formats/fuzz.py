"""Fuzzes the readers of layout ``packs`` with atheris: ``make fuzz``, or ``python -m tests.formats.fuzz SECONDS [TARGET]``.

Each target runs in a process of its own, guided by which lines of ``holdfast.formats`` an input reaches. What it finds stays in
``.fuzz/TARGET`` for the next run; an input that breaks a reader is written there as ``crash-…`` and ends the run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Beyond this many MiB a reader counts as broken.
MEMORY = 1024


def fuzz(name: str, seconds: str) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["holdfast.formats", "holdfast.model"]):
        from tests.formats.fuzzing import TARGETS, run
    folder = ROOT / ".fuzz" / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(TARGETS[name][1]):
        (folder / f"sample-{number}").write_bytes(sample)
    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={folder}/", "-max_len=65536"]
    atheris.Setup([sys.argv[0], str(folder), *options], lambda data: run(name, data))
    atheris.Fuzz()


def main() -> int:
    """Fuzz one target, or all of them one after the other."""
    seconds, *names = sys.argv[1:]
    if names:
        fuzz(names[0], seconds)
    from tests.formats.fuzzing import TARGETS

    for name in TARGETS:
        print(f"fuzz: {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", "tests.formats.fuzz", seconds, name], check=False, cwd=ROOT)
        if done.returncode:
            print(f"fuzz: {name} broke; the input is in .fuzz", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
