"""What the bench measures and what it needs for it: programs, corpus files, rules and packages, all in the cache."""
import dataclasses
import hashlib
import importlib
import os
import pathlib
import statistics
import subprocess
import sys

import corpus
import query
import rules

# How Keytrail is measured: bytes to findings, without owners, plans and tickets.
KEYTRAIL = "rule backtest --data {file} --no-builtin-rules --rules {rules} --detect-only --threads {threads} -o ndjson"
# A binary that has no `rule backtest` is still measured, with all that it does by itself.
KEYTRAIL_BEFORE = "scan --dry-run --no-builtin-rules --rules {rules} -o ndjson {file}"

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "keytrail"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
WORK = CACHE / "bench"
PYPI = ["duckdb==2.0.1", "PyYAML==6.0.4"]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
DUCKDB_RULES = 570


@dataclasses.dataclass
class Program:
    name: str
    rules: int
    threads: int
    command: list
    seconds: list = dataclasses.field(default_factory=list)
    startup: list = dataclasses.field(default_factory=list)
    wall: list = dataclasses.field(default_factory=list)
    memory: int = 0
    said: str = ""
    instructions: float = None

    def over(self, file):
        return [str(word).replace("{file}", str(file)) for word in self.command]

    def per_million(self, events):
        return max(statistics.median(self.seconds) - statistics.median(self.startup), 1e-9) / (events - 1) * 1e6


def yardsticks(folders):
    target = CACHE / "bench-target"
    build = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", HERE / "Cargo.toml"]
    subprocess.run([*build, "--target-dir", target], check=True)
    bench = target / "release" / "keytrail-bench"
    bare = [Program(f"sonic-rs {what}", 0, 1, [bench, what, "{file}"]) for what in ("dom", "pointers")]
    return bare + [Program("rsigma", count, 1, [bench, "rsigma", "{file}", path]) for count, path in folders.items()]


def duckdb(folders, sets, python, every):
    if not python:
        return []
    chosen = {count: of for count, of in sets.items() if every or count <= DUCKDB_RULES}
    for count in sets.keys() - chosen.keys():
        say(f"skipped: DuckDB with {count:,} rules: minutes a turn; `--all` asks for it")
    out = []
    for count, of in chosen.items():
        sql = WORK / f"query-{folders[count].name}.sql"
        sql.write_text(query.text(of))
        out += [Program("DuckDB", count, threads, [python, HERE / "query.py", "{file}", sql, threads])
                for threads in dict.fromkeys([1, CORES])]
    return out


def rule_sets(python, said):
    """Folders and rules by count, and where they come from; without rules that Keytrail refuses."""
    yaml = importlib.import_module("yaml") if python else None
    trial, _, _ = rules.folders(WORK / "rules", reference(), yaml, counts=rules.COUNTS[:2])
    names = refused(trial[57], said)
    if names:
        say(f"keytrail refuses, so that no program is given: {', '.join(names)}")
    folders, sets, source = rules.folders(WORK / "rules", reference(), yaml, names)
    say(f"rules: {source}; 570 and 5,700: varied copies of them")
    return folders, sets


def refused(folder, said):
    """The rules of the folder that Keytrail names, as files, in what it says besides findings."""
    one = events_file(1, corpus.ROLES)
    for program in keytrail({57: folder}, said)[:1]:
        said = subprocess.run(program.over(one), capture_output=True, text=True, cwd=WORK).stderr
        return [path.stem for path in sorted(folder.iterdir()) if path.name in said]
    return []


def keytrail(folders, said):
    binary, _ = found(said)
    if not binary:
        return []
    line = keytrail_line(binary)
    command = lambda path, threads: [binary, *(word.format(file="{file}", rules=path, threads=threads)
                                               for word in line.split())]
    return [Program("Keytrail", count, threads, command(path, threads))
            for count, path in folders.items() for threads in dict.fromkeys([1, CORES])]


def keytrail_line(binary):
    known = subprocess.run([binary, "rule", "backtest", "--help"], capture_output=True)
    return KEYTRAIL if known.returncode == 0 else KEYTRAIL_BEFORE


def say_what(said):
    binary, profile = found(said)
    if binary:
        say(f"keytrail: {binary} ({profile}): keytrail {keytrail_line(binary)}")
    else:
        say(f"skipped: keytrail: none under {TARGET}: run `cargo build --release` or `cargo build` first")


def found(said):
    if said:
        return said.resolve(), "as given"
    for profile, what in [("release", "release"), ("debug", "dev: crates at opt-level 1, the hot ones at 3")]:
        if (TARGET / profile / "keytrail").exists():
            return TARGET / profile / "keytrail", what
    return None, None


def reference():
    """The folder of public data, where the tests look for it."""
    place = pathlib.Path(os.environ.get("KEYTRAIL_REFERENCE_DATA") or ROOT.parent / "shared" / "data")
    return place if (place / rules.SIGMA).is_dir() else None


def in_venv():
    """The Python of a venv with DuckDB and PyYAML, whose packages this process can then import too; or None."""
    python = CACHE / "bench-venv" / "bin" / "python"
    installed = python.parent.parent / "installed"
    try:
        if not installed.exists() or installed.read_text() != "\n".join(PYPI):
            subprocess.run([sys.executable, "-m", "venv", "--clear", python.parent.parent], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PYPI], check=True)
            installed.write_text("\n".join(PYPI))
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout
        sys.path.append(packages.strip())
        return python
    except (OSError, subprocess.SubprocessError) as error:
        say(f"skipped: DuckDB, and SigmaHQ's rules with it: {', '.join(PYPI)} cannot be had from PyPI: {error}")
        return None


def events_file(count, roles):
    """Made once: the name holds what it is made from."""
    WORK.mkdir(parents=True, exist_ok=True)
    sources = [pathlib.Path(corpus.__file__), *corpus.samples()]
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + str(roles).encode()).hexdigest()[:8]
    path = WORK / f"cloudtrail-{count}-{mark}.jsonl"
    if not path.exists():
        for old in WORK.glob(f"cloudtrail-{count}-*.jsonl"):
            old.unlink()
        part = path.with_suffix(".part")
        corpus.write(part, count, roles)
        part.rename(path)
    return path


def say(text):
    print(text, flush=True)
