"""Ports that are free, and waiting until a server listens on one."""
import socket
import time

from fetched import skip


GIVEN = set()


def free_port():
    """None that was given before: nothing may listen there yet."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def wait_for(port, process, what):
    """Says `skipped` where it ended, or does not listen within 30 s."""
    for _ in range(300):
        if process.poll() is not None:
            skip(f"{what} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    process.kill()
    skip(f"{what} did not start within 30 s")
