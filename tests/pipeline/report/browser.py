"""A real Chromium without a window, for the pages that people read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

SKIP = "DERMROBUST_SKIP_BROWSER"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _program(*names: str) -> str:
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is not None:
        return found
    if os.environ.get(SKIP):
        pytest.skip(f"{names[0]} is not installed, and {SKIP} is set")
    pytest.fail(
        f"{names[0]} is not installed, and reports are tested in a real browser. Debian: apt-get install chromium "
        f"chromium-driver. To go without: {SKIP}=1"
    )


@contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[webdriver.Chrome]:
    """Give a browser that logs its console and every request."""
    os.environ.setdefault("SE_OFFLINE", "true")
    options = webdriver.ChromeOptions()
    options.binary_location = _program(*_BROWSERS)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def set_width(driver: webdriver.Chrome, width: int) -> None:
    """Set the width of the page in CSS pixels; a window of its own cannot be as narrow as a telephone."""
    size: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
