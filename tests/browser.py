"""A headless Chromium that tests control through its DevTools over pipes, without a port or another package."""

import base64
import json
import os
import selectors
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
).split()

PATIENCE = 60
"""Seconds after which a test gives up on a browser that does not answer."""


class Browser:
    """One page of a browser; its errors and requests are recorded.

    Attributes:
        complaints: exceptions, and messages on the console that are errors or warnings.
        requests: the addresses that the page asked for.
    """

    def __init__(self, folder):
        ours, theirs = os.pipe(), os.pipe()  # (read, write) each; Chromium reads number 3 and writes number 4
        self._into, self._out_of = theirs[1], ours[0]
        shell = f'exec "$@" 3<&{theirs[0]} 4>&{ours[1]}'
        command = ["bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, pass_fds=(theirs[0], ours[1]), **quiet)
        os.close(theirs[0])
        os.close(ours[1])
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._out_of, selectors.EVENT_READ)
        self._buffer, self._number, self._session, self._events = b"", 0, None, []
        self.complaints, self.requests = [], []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def close(self):
        try:
            self._session = None
            self.send("Browser.close")
            self._process.wait(timeout=PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._waiting.close()
            os.close(self._into)
            os.close(self._out_of)

    def send(self, method, **parameters):
        """Give a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self):
        """Return the next message; events are recorded too."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            assert self._waiting.select(max(0, end - time.monotonic())), "the browser says nothing"
            piece = os.read(self._out_of, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        method, what = message.get("method"), message.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.complaints.append(what["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.complaints.append(what)
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.complaints.append(what["entry"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        return message

    def open(self, path, width=1000, height=800, scheme="light"):
        """Open a file in a window of a size and a colour scheme."""
        self.complaints, self.requests, self._events = [], [], []
        self.resize(width, height)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._next()

    def resize(self, width, height):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def run(self, script):
        """Return the value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, path):
        """Write a picture of the whole page."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
