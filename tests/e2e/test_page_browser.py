"""The page in a real browser: run on tiny data -> page -> chromium, driven by its own driver."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
PHONE, DESKTOP = (390, 844), (1280, 900)
PATIENCE = 60  # s: a shared machine can be slow; nothing is asserted about time


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two methods and a broken one on a tiny dataset; return the page."""
    from fvsr_bench.cli import run

    write_tiny_dataset, method_source = _helpers()
    folder = tmp_path_factory.mktemp("browser")
    data = write_tiny_dataset(folder / "tiny")
    (folder / "near.py").write_text(method_source("Near"))
    (folder / "boom.py").write_text(method_source("Boom", "raise ValueError('no such layer')"))
    models = f"bicubic,{folder / 'near.py'},{folder / 'boom.py'}"
    out = folder / "out"
    assert run(["run", "-m", models, "-d", str(data), "-o", str(out)]) == 0
    return out / "index.html"


def _helpers() -> tuple[Callable[..., Path], Callable[..., str]]:
    """Load the functions of this folder's conftest, which cannot be imported by name."""
    import importlib.util

    path = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("e2e_conftest_for_browser", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_tiny_dataset, module.method_source


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Start the browser once; skip, saying so, where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("no browser here: apt-get install chromium chromium-driver")
    os.environ["SE_OFFLINE"] = "true"  # selenium looks for no driver and reports nothing
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.chrome.service.Service(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_page_load_timeout(PATIENCE)
    browser.set_script_timeout(PATIENCE)
    yield browser
    browser.quit()


class Tab:
    """What the tests do with an open page."""

    def __init__(self, browser, page: Path, size: tuple[int, int], script: bool = True) -> None:
        self.browser = browser
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get_log("performance")
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
        command = browser.execute_cdp_cmd
        command("Emulation.setDeviceMetricsOverride", {**metrics, "mobile": size[0] < 600})
        command("Emulation.setScriptExecutionDisabled", {"value": not script})
        still = {"name": "prefers-reduced-motion", "value": "reduce"}  # scrolling is at once
        command("Emulation.setEmulatedMedia", {"features": [still]})
        browser.get(page.as_uri())
        if script:
            self.until("return document.getElementById('viewer').dataset.ready === 'yes'")

    def js(self, code: str, *values: object) -> object:
        return self.browser.execute_script(code, *values)

    def until(self, code: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.js(code):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.02)

    def find(self, selector: str):
        return self.browser.find_element("css selector", selector)

    def state(self, name: str) -> str:
        return self.js(f"return document.getElementById('viewer').dataset.{name}")

    def press(self, keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(keys)

    def column(self, index: int) -> list[str]:
        code = "return [...document.querySelectorAll('#table2 tbody tr')].map(r => r.cells[%d]"
        return self.js(code % index + ".innerText.trim().split(/\\s/)[0])")


@pytest.fixture
def desktop(chromium, page) -> Iterator[Tab]:
    tab = Tab(chromium, page, DESKTOP)
    yield tab
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture
def phone(chromium, page) -> Tab:
    return Tab(chromium, page, PHONE)


def test_page_opens_without_errors_and_without_any_request(desktop):
    import json

    messages = [json.loads(entry["message"])["message"] for entry in _performance(desktop)]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == REQUEST]
    assert any(url.startswith("file:") for url in sent)  # the page itself
    outside = [url for url in sent if not url.startswith(("file:", "data:", "about:"))]
    assert outside == []
    assert desktop.browser.get_log("browser") == []


REQUEST = "Network.requestWillBeSent"


def _performance(tab: Tab) -> list[dict]:
    return tab.browser.get_log("performance")


def test_the_divider_follows_the_pointer(desktop):
    from selenium.webdriver import ActionChains

    stage = desktop.find("#v-stage")
    desktop.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", stage)
    width = stage.size["width"]
    drag = ActionChains(desktop.browser).move_to_element(stage).click_and_hold()
    drag.move_by_offset(round(width * 0.3), 0).release().perform()
    desktop.until("return document.getElementById('viewer').dataset.split !== '50'")
    assert abs(int(desktop.state("split")) - 80) <= 2
    left = desktop.js("return document.getElementById('v-divider').style.left")
    assert left == f"{desktop.state('split')}%"


def test_both_sides_of_the_divider_show_their_method(desktop):
    code = """
      const canvas = document.getElementById('v-pair'), at = canvas.width / 160;
      const pixel = (x, y) => [...canvas.getContext('2d').getImageData(x * at, y * at, 1, 1).data];
      return [pixel(40, 80), pixel(120, 80)];"""
    choose = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
    choose += "s.dispatchEvent(new Event('change'));"
    before = desktop.js(code)
    ids = desktop.js("return [...document.getElementById('v-a').options].map(o => o.value)")
    near = next(name for name in ids if name.startswith("near"))
    desktop.js(choose, "v-a", near)
    desktop.until("return document.getElementById('v-tag-a').textContent === 'Near'")
    after = desktop.js(code)
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_sorting_a_column_orders_it_and_keeps_empty_cells_last(desktop):
    desktop.js("document.getElementById('table2').scrollIntoView()")
    button = desktop.js(
        "return [...document.querySelectorAll('#table2 .sort')].find(b => b.innerText === 'Ours')"
    )
    for direction in ("descending", "ascending"):
        desktop.js("arguments[0].click()", button)
        head = desktop.js("return arguments[0].closest('th').getAttribute('aria-sort')", button)
        assert head == direction
        values = desktop.column(2)
        assert values[-1] == "–"  # the broken method has no number
        numbers = [float(value) for value in values[:-1]]
        assert len(numbers) == 2
        assert numbers == sorted(numbers, reverse=direction == "descending")


def test_playing_moves_the_frame_the_strip_and_the_numbers(desktop):
    values = "return document.getElementById('v-values').textContent"
    before = desktop.js(values)
    head = "return document.querySelector('#v-strip .playhead').getAttribute('d')"
    place = desktop.js(head)
    desktop.js("document.getElementById('v-play').click()")
    desktop.until("return document.getElementById('viewer').dataset.frame === '2'")
    desktop.js("document.getElementById('v-play').click()")
    assert desktop.js(head) != place
    assert desktop.js(values) != before
    assert "Play" in desktop.find("#v-play").text


def test_everything_works_from_the_keyboard(desktop):
    desktop.js("document.getElementById('v-pair').focus()")
    frame = int(desktop.state("frame"))
    desktop.press(",")
    desktop.until(f"return document.getElementById('viewer').dataset.frame === '{frame - 1}'")
    desktop.press("]")
    desktop.until("return document.getElementById('viewer').dataset.split === '55'")
    label = desktop.find("#v-pair").get_attribute("aria-label")
    assert f"Frame {frame - 1} of" in label
    ring = desktop.js("return document.getElementById('v-ring').style.left")
    desktop.press("\ue014")  # arrow right: the zoom moves on
    desktop.until(f"return document.getElementById('v-ring').style.left !== '{ring}'")
    focusable = desktop.js(
        "return [...document.querySelectorAll('button, select, input, summary')]"
        ".filter(e => e.offsetParent).every(e => e.tabIndex >= 0)"
    )
    assert focusable


def test_every_control_has_a_name(desktop):
    unnamed = desktop.js("""
      return [...document.querySelectorAll('input, select, button, svg[role=img], canvas, img')]
        .filter(e => e.offsetParent !== null || e.tagName === 'svg')
        .filter(e => !(e.labels?.[0]?.innerText || e.innerText?.trim() || e.alt ||
                       e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')))
        .map(e => e.outerHTML.slice(0, 90))""")
    assert unnamed == []


def test_the_figure_switches_to_lines_per_clip(desktop):
    shown = "return getComputedStyle(document.querySelector('#fig5 .when-%s')).display !== 'none'"
    assert desktop.js(shown % "mean")
    assert not desktop.js(shown % "clips")
    desktop.js("document.getElementById('fig5-clips').click()")
    assert desktop.js(shown % "clips")
    assert not desktop.js(shown % "mean")


def test_error_pictures_are_black_where_nothing_differs(desktop):
    code = """
      const made = document.querySelector('#v-errors canvas');
      const data = made.getContext('2d').getImageData(0, 0, 160, 160).data;
      return [Math.max(...data.filter((v, i) => i % 4 < 3)), made.style.filter];"""
    most, look = desktop.js(code)
    assert most > 0
    assert "heat8" in look


def test_a_phone_needs_no_sideways_scrolling(phone):
    assert phone.js("return document.documentElement.scrollWidth") <= PHONE[0]
    buttons = phone.js(
        "return [...document.querySelectorAll('.viewer button, .viewer select')]"
        ".map(e => e.getBoundingClientRect()).filter(r => r.right > innerWidth + 1).length"
    )
    assert buttons == 0


def test_pictures_beside_the_page_are_found_when_it_is_opened_from_disk(chromium, page, tmp_path):
    from fvsr_bench.report.html import write_page

    root = Path(shutil.copytree(page.parent, tmp_path / "beside"))
    tab = Tab(chromium, write_page(root, assets=True), DESKTOP)
    assert tab.state("ready") == "yes"  # every picture was decoded
    assert [e for e in chromium.get_log("browser") if e["level"] == "SEVERE"] == []


def test_without_script_there_are_tables_figures_and_pictures(chromium, page):
    tab = Tab(chromium, page, DESKTOP, script=False)
    try:
        assert not tab.find("#viewer").is_displayed()
        assert tab.find("#table2 tbody tr").is_displayed()
        assert tab.find("#fig5 svg.chart").is_displayed()
        assert tab.find(".still img").is_displayed()
        tab.find("#fig5-clips").click()  # by style alone
        assert tab.find("#fig5 .when-clips").is_displayed()
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
