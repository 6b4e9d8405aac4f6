"""Headless Chromium over its DevTools pipe: a page opened at a width and scheme, what it said and
asked for, and its picture.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
_PATIENCE = 60  # seconds
_OWN = ("file:", "data:", "blob:")  # addresses that are not on a network

# Scripts for `Page.evaluate`: ids of the figures that show data; pixels to scroll sideways when
# everything is unfolded; ids that are given twice.
DRAWN = """[...document.querySelectorAll(".js-plotly-plot")].filter(one => one.querySelector(
    ".scatterlayer .point, .scatterlayer .js-line, .barlayer .point, .heatmaplayer image")).map(one => one.id)"""
WIDTH_TOO_MUCH = """(document.querySelectorAll("details").forEach(one => one.open = true),
    document.documentElement.scrollWidth - innerWidth)"""
REPEATED = """[...document.querySelectorAll("[id]")].filter(one => !one.closest("svg")).map(one => one.id)
    .filter((id, at, all) => all.indexOf(id) !== at)"""


@dataclass
class Page:
    """One tab. What it asked for and what went wrong in it is gathered from its first byte on."""

    asking: int  # file descriptors of the pipe
    answering: int
    requested: list[str] = field(default_factory=list)  # addresses on a network
    errors: list[str] = field(default_factory=list)  # console errors and exceptions
    _session: str | None = None
    _number: int = 0
    _read: bytes = b""
    _loaded: bool = False

    def evaluate(self, script: str) -> Any:
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page, as high as it is."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]))

    def saved(self, script: str, directory: Path) -> Path:
        """The file that the page saves when `script` is run, into an empty directory."""
        self._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(directory))
        self.evaluate(script)
        end = time.monotonic() + _PATIENCE
        while True:  # until there is one file, and neither a part of one nor an empty one that holds its place
            files = list(directory.iterdir())
            if len(files) == 1 and files[0].suffix != ".crdownload" and files[0].stat().st_size:
                return files[0]
            assert time.monotonic() < end, f"nothing was saved: {files}"
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self._call("Input.insertText", text=text)

    def press(self, key: str, control: bool = False) -> None:
        """Press a key by its name, such as Enter or Tab, alone or with Ctrl."""
        code = {"Enter": 13, "Tab": 9, " ": 32}[key]
        key_event = {
            "key": key,
            "code": {" ": "Space"}.get(key, key),
            "windowsVirtualKeyCode": code,
            "modifiers": 2 if control else 0,
        }
        text = {} if control else {"Enter": {"text": "\r"}, " ": {"text": " "}}.get(key, {})
        self._call("Input.dispatchKeyEvent", type="keyDown", **key_event, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **key_event)

    def open(self, address: str, width: int, dark: bool) -> None:
        made = self._call("Target.createTarget", url="about:blank")
        self._session = self._call("Target.attachToTarget", targetId=made["targetId"], flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=address)
        while not self._loaded:
            self._take(self._next())
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.asking, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._take(answer)
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    def _take(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(_OWN):
            self.requested.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(said["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.errors.append(str([one.get("value", one.get("description")) for one in said["args"]]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self.answering, 1 << 20)
            assert more, "Chromium ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextlib.contextmanager
def opened(path: Path | str, scratch: Path, width: int = 1200, dark: bool = False) -> Iterator[Page]:
    """The file or address in a browser of its own, `width` pixels wide, loaded; `scratch` takes the
    browser's profile.
    """
    ours_read, theirs_write = os.pipe()
    theirs_read, ours_write = os.pipe()
    command = ["chromium", *_FLAGS, f"--user-data-dir={scratch}", "--remote-debugging-pipe", "about:blank"]
    shell = [
        "bash",
        "-c",
        f'exec "$@" 3<&{theirs_read} 4>&{theirs_write}',
        "bash",
        *command,
    ]  # 3 and 4 are what Chromium talks over
    quiet = subprocess.DEVNULL
    with subprocess.Popen(shell, pass_fds=(theirs_read, theirs_write), stdout=quiet, stderr=quiet) as browser:
        os.close(theirs_read)
        os.close(theirs_write)
        watch = threading.Timer(_PATIENCE, browser.kill)  # a read that waits for an answer ends with it
        watch.start()
        try:
            page = Page(ours_write, ours_read)
            page.open(path if isinstance(path, str) else path.resolve().as_uri(), width, dark)
            yield page
        finally:
            watch.cancel()
            browser.terminate()
            os.close(ours_read)
            os.close(ours_write)
