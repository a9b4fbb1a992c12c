#!/usr/bin/env python3
"""Runs the HTTP example with a client, for ctest: run_with_client.py PROGRAM

The client repeats a request, also after the service was killed, and must get the response of the
first time; the file of charges must hold one line. Exits with 0 if so.
"""

import http.client
import re
import subprocess
import sys

PATIENCE_SECONDS = 30


class Service:
    """The program under test, on a port that the system chose."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "0"], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"listening on port (\d+)\n", line).group(1))

    def post(self, body, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request("POST", "/charges", body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def kill(self):
        self.process.kill()
        self.process.wait()


def expect(condition, what):
    if not condition:
        sys.exit(f"run_with_client: {what}")


def main(program):
    service = Service(program)
    try:
        status, receipt = service.post("12.50", "key-1")
        expect(status == 201 and receipt.startswith("charged 12.50"), f"first: {status} {receipt}")
        expect(service.post("12.50", "key-1") == (201, receipt), "the repetition differs")
        service.kill()
        service = Service(program)
        expect(service.post("12.50", "key-1") == (201, receipt), "the killed service forgot it")
        expect(service.post("99.00", "key-1")[0] == 422, "another amount under the same key")
        expect(service.post("12.50")[0] == 400, "a request without a key")
        for _ in range(2):
            expect(service.post("", "key-2")[0] == 422, "a charge that fails for good")
        expect(service.post("8.00", "key-3")[0] == 201, "another charge")
    finally:
        service.kill()
    with open("charges.txt", encoding="utf-8") as charges:
        expect(charges.read() == "12.50\n8.00\n", "charged another number of times")


if __name__ == "__main__":
    main(sys.argv[1])
