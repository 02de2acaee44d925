"""Packages that the servers here need, fetched once into $KEYTRAIL_CACHE or ~/.cache/keytrail."""
import contextlib
import fcntl
import importlib.util
import os
import subprocess
import sys
import venv


def go_on_with(module, package, name):
    """Returns where `module` is there; else starts this script again in an environment `name` that has `package`.

    Says `skipped: why` and ends with 77 where that cannot be had.
    """
    if importlib.util.find_spec(module):
        return
    try:
        python = environment(package, name)
        os.execv(python, [python] + sys.argv)
    except (OSError, subprocess.SubprocessError) as error:
        skip(f"{package} cannot be had: {error}")


def skip(why):
    print(f"skipped: {why}", flush=True)
    sys.exit(77)


@contextlib.contextmanager
def locked(name):
    """The cache's folder of this name, which nobody else changes meanwhile."""
    base = os.environ.get("KEYTRAIL_CACHE")
    base = base or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "keytrail")
    folder = os.path.join(base, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(base, f"{name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def environment(package, name):
    with locked(name) as folder:
        python, done = os.path.join(folder, "bin", "python"), os.path.join(folder, "done")
        if not os.path.exists(done):
            venv.create(folder, with_pip=True)
            command = [python, "-m", "pip", "install", "-q", package]
            subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            open(done, "w", encoding="utf-8").close()
    return python
