"""A folder like a clone, with the smoke ladder climbed in it."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def climb(folder: Path) -> Path:
    """Climb the smoke ladder through Snakemake in a new folder; what an earlier attempt left there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    Climbed(folder).snakemake()
    return folder


@dataclass
class Climbed:
    """A folder like a clone, with one ladder climbed in it."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "smoke"

    @property
    def ladder(self) -> Path:
        return self.folder / "configs" / "ladders" / "smoke.yaml"

    def snakemake(self, *arguments: str, check: bool = True, config: str = "", ladder: str = "smoke") -> str:
        """Run snakemake on a ladder here; returns all it printed."""
        done = subprocess.run(
            command(*arguments, config=config, ladder=ladder),
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def stepladder(self, *arguments: str) -> str:
        """Run stepladder here; returns what it printed on stdout."""
        words = [sys.executable, "-m", "stepladder.cli", *arguments]
        return subprocess.run(words, cwd=self.folder, text=True, check=True, stdout=subprocess.PIPE).stdout

    def copy(self, folder: Path) -> "Climbed":
        """The same in a new folder, where it is up to date as well: times of files are kept."""
        return Climbed(shutil.copytree(self.folder, folder, symlinks=True))

    def planned(self, *arguments: str, config: str = "") -> list[str]:
        """Outputs (or rule names) of the jobs that snakemake would run."""
        text = self.snakemake(*arguments, "--dry-run", "--quiet", "host", "progress", config=config)
        rules = [
            line.split()[1].rstrip(":")
            for line in text.splitlines()
            if line.startswith(("rule ", "localrule "))
        ]
        outputs = [
            line.split(": ", 1)[1] for line in text.splitlines() if line.strip().startswith("output: ")
        ]
        trained = [o.split("/runs/")[1].removesuffix("/result.json") for o in outputs if "/runs/" in o]
        return sorted([rule for rule in rules if rule != "train"] + trained)


def command(*arguments: str, config: str = "", ladder: str = "smoke") -> list[str]:
    """snakemake on a ladder, from the environment that runs the tests."""
    more = [config] if config else []
    return [sys.executable, "-m", "snakemake", *arguments, "--config", f"ladder={ladder}", *more]
