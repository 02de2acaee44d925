#!/usr/bin/env python3
"""Object storage on loopback for the lake's tests: moto's S3, with one bucket that is called `bucket`.

usage: s3.py

Says `port N` on its first line, or `skipped: why`. Ends when its standard input does.
"""
import sys
import urllib.request

from fetched import go_on_with

MOTO = "moto[server]==5.2.5"


def main():
    go_on_with("moto", MOTO, "s3-server")
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT"), timeout=10).close()
    print(f"port {port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
