#!/usr/bin/env python3
"""Runs a program with the URL of a private redis-server, for ctest: run_with_server.py PROGRAM

The server lives in a scratch folder, on a socket there, and ends with this script. Without a
redis-server the example is skipped, or fails where CI=true.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE_SECONDS = 20
PR_SET_PDEATHSIG = 1


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def await_server(path, server):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("run_with_server: redis-server does not serve")
            time.sleep(0.01)


def main(program):
    server_program = os.environ.get("ONCE_REDIS_SERVER") or shutil.which("redis-server")
    if not server_program:
        if os.environ.get("CI") == "true":
            sys.exit("run_with_server: there is no redis-server, and this is CI")
        print("skipped: there is no redis-server (Debian: redis-server)")
        return 0
    # Not the current folder: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="once-redis-") as folder:
        return run(program, server_program, folder)


def run(program, server_program, folder):
    path = os.path.join(folder, "s")
    server = subprocess.Popen(
        [server_program, "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "",
         "--appendonly", "yes", "--appendfsync", "always"],
        stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        await_server(path, server)
        return subprocess.run([program, "unix:" + path], timeout=PATIENCE_SECONDS).returncode
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
