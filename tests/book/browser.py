"""A browser without a network that opens pages from disk, driven by mouse and keys as a reader would."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from contextlib import contextmanager

from study.commands.pdf import BROWSERS

CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
).split()
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND"
MOVES = "PageUp PageDown End Home ArrowLeft ArrowUp ArrowRight ArrowDown".split()
KEYS = {"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, " ": 32} | {name: 33 + i for i, name in enumerate(MOVES)}


class Page:
    """An open page, controlled by the DevTools protocol over two pipes: JSON messages, each ended by a null byte."""

    def __init__(self, to_browser, from_browser):
        self._to, self._from, self._session, self._count = to_browser, from_browser, None, 0
        self._unread, self._events = b"", []
        self.errors: list = []  # exceptions in the page
        self.requests: list = []  # URLs that it requested
        (target,) = (info for info in self.call("Target.getTargets")["targetInfos"] if info["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method, **params):
        """Call a method of the protocol; returns its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        """Load an address and wait for it."""
        for address in ("about:blank", url):  # a change of the hash alone would load nothing
            self._events.clear()
            self.call("Page.navigate", url=address)
            while "Page.loadEventFired" not in self._events:
                self._read()
        self.settle()

    def value(self, expression):
        """The value of a JavaScript expression, as JSON."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def settle(self):
        """Wait for two frames, so that pending changes are drawn."""
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def size(self, width, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.settle()

    def point(self, selector, across=0.5, down=0.5, click=True):
        """Move the mouse to a place in an element, given as fractions of its size, and click there."""
        box = self.value(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)});"
            "element.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const { left, top, width, height } = element.getBoundingClientRect();"
            "return [left, top, width, height]; })()"
        )
        place = {"x": box[0] + across * box[2], "y": box[1] + down * box[3]}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        self.settle()

    def press(self, *keys):
        for key in keys:
            text = {"text": {"Enter": "\r"}.get(key, key)} if len(key) == 1 or key == "Enter" else {}
            code = {"windowsVirtualKeyCode": KEYS.get(key, ord(key.upper()) if key.isalnum() and len(key) == 1 else 0)}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, **text, **code)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)
        self.settle()

    def choose(self, selector, value):
        """Set a <select>, whose open list is not part of the page."""
        self.value(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)}); element.value = "
            f"{json.dumps(value)}; element.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
        )
        self.settle()

    def _read(self):
        while b"\0" not in self._unread:
            assert select.select([self._from], [], [], 60)[0], "the browser does not answer"
            more = os.read(self._from, 2**16)
            assert more, "the browser has ended"
            self._unread += more
        first, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(first)
        self._events.append(message.get("method"))
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(message["params"]["exceptionDetails"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message


@contextmanager
def browser(folder):
    """A page in a new browser, which ends with the context; `folder` is for the browser's files."""
    (read_end, browser_out), (browser_in, write_end) = os.pipe(), os.pipe()

    def set_descriptors():  # the browser reads from 3 and writes to 4
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (browser_in, browser_out)]
        os.dup2(ends[0], 3), os.dup2(ends[1], 4)

    command = [CHROMIUM, *FLAGS, NOWHERE, f"--user-data-dir={folder / 'browser'}", "about:blank"]
    process = subprocess.Popen(command, preexec_fn=set_descriptors, close_fds=False, stderr=subprocess.DEVNULL)
    os.close(browser_in), os.close(browser_out)
    try:
        yield Page(write_end, read_end)
    finally:
        os.close(write_end), os.close(read_end)
        process.terminate()
        process.wait(20)
