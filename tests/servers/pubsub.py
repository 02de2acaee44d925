#!/usr/bin/env python3
"""Pub/Sub on loopback for the source's tests: Google's emulator, which keeps everything in memory.

usage: pubsub.py [PORT]

Says `port N` on its first line, or `skipped: why`. Ends when its standard input does; the emulator ends with it.
"""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys

from fetched import skip
from ports import free_port, wait_for

JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
HOMES = ["/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "~/google-cloud-sdk"]


def jar():
    homes = [os.path.expanduser(home) for home in HOMES]
    gcloud = shutil.which("gcloud")
    if gcloud:
        homes.append(os.path.dirname(os.path.dirname(os.path.realpath(gcloud))))
    found = [path for home in homes for path in sorted(glob.glob(os.path.join(home, JAR)))]
    return found[-1] if found else skip("the emulator is not there: gcloud components install pubsub-emulator")


def with_parent():
    """Ends with this script even where it is killed; of Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main():
    path = jar()
    if not shutil.which("java"):
        skip("java is not there")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else free_port()
    # It keeps what was acknowledged for a while: with less it stands still after some 100,000 messages.
    command = ["java", "-Xmx2g", "-XX:TieredStopAtLevel=1", "-jar", path, "--host=127.0.0.1", f"--port={port}"]
    quiet = subprocess.DEVNULL
    emulator = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, preexec_fn=with_parent)
    wait_for(port, emulator, "the emulator")
    print(f"port {port}", flush=True)
    sys.stdin.read()
    emulator.kill()
    emulator.wait()


if __name__ == "__main__":
    main()
