"""Takes the screenshots of docs/report.md: page.py RESULTS/index.html (needs chromium, selenium).

The results of the pictures shown there: bicubic, vespcn, sofvsr, frvsr and fapn on the demo clips
hopper_nod, collins_talk and collins_turn.
"""

import base64
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
SHOTS = {"page-desktop.jpg": (1280, 1860), "page-phone.jpg": (390, 1700)}


def main(page: Path, out: Path) -> None:
    """Write the screenshots of a page into `out`."""
    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    service = Service(executable_path=shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    for name, (width, height) in SHOTS.items():
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(page.resolve().as_uri())
        while not browser.execute_script("return document.getElementById('viewer').dataset.ready"):
            time.sleep(0.1)
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        image.save(out / name, quality=86)
    browser.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
