"""The page as a reader meets it, in a real browser: right figures, no network, usable by keyboard, small and quick."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panels.flips import gallery
from tests.pipeline.report.browser import set_width
from tests.pipeline.report.evaluations import (
    ATTACKS,
    CLASSES,
    MODELS,
    blessing,
    gallery_rows,
    write_evaluation,
)

MEGABYTES = 1_000_000
CELLS = """
return [...document.querySelectorAll('#' + arguments[0] + ' td[data-value]')].map(td => ({
  ...td.closest('.panel').dataset, ...td.dataset, row: td.parentElement.dataset.row,
  text: td.querySelector('b').textContent,
  small: td.classList.contains('few')}))
"""
FOCUSED = "const e = document.activeElement; return [e.tagName, e.textContent.trim().slice(0, 40)]"
WIDE = "return document.documentElement.scrollWidth"
BOXES = """
const box = (e) => {
  const r = e.getBoundingClientRect();
  return {top: r.top, bottom: r.bottom, left: r.left, right: r.right};
};
const boxes = (selector) => [...document.querySelectorAll(selector)].map(box);
const sections = [...document.querySelectorAll("main > section")];
const overlaps = sections.slice(1).filter((e, i) => box(e).top < box(sections[i]).bottom - 1).map(e => e.id);
const told = "main p, main dd, main dt, main h2, main figure, main select, main button";
const outside = [...document.querySelectorAll(told)]
  .filter(e => e.checkVisibility() && !e.closest(".scroll"))
  .filter(e => box(e).right > document.documentElement.clientWidth + 1 || e.scrollWidth > e.clientWidth + 1)
  .map(e => [e.tagName, e.textContent.slice(0, 40)]);
return {verdict: boxes(".verdict"), facts: boxes(".key-figures > div"), overlaps, outside};
"""
CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
const light = (c) => { const [r, g, b] = c.slice(0, 3).map(x => linear(x / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const found = [];
const walker = document.createTreeWalker(document.querySelector('body'), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !e.checkVisibility()) continue;
  if (e.closest('svg, script, .hidden, .status span, .skip')) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) found.push([ratio.toFixed(2), e.className, walker.currentNode.textContent.slice(0, 30)]);
}
return found;
"""


@pytest.fixture(scope="module")
def path(evaluation: Evaluation, lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(evaluation, lineage), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: webdriver.Chrome, path: Path) -> webdriver.Chrome:
    set_width(browser, 1280)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    return browser


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def shown(page: webdriver.Chrome, board: str) -> list[dict[str, Any]]:
    return page.execute_script(CELLS, board)


def choose(page: webdriver.Chrome, board: str, name: str, value: str) -> None:
    group = page.find_element(By.CSS_SELECTOR, f'[data-panels="{board}"], [data-filters="{board}"]')
    Select(group.find_element(By.NAME, name)).select_by_value(value)


def visible_panel(page: webdriver.Chrome, board: str) -> WebElement:
    (panel,) = (p for p in page.find_elements(By.CSS_SELECTOR, f"#{board} > .panel") if p.is_displayed())
    return panel


def test_every_overall_metric_is_in_the_matrix_as_it_is_in_the_table(page: webdriver.Chrome, folder: Path) -> None:
    found = {(c["row"], c["column"], c["epsilon"], c["metric"]): c for c in shown(page, "matrix")}
    wanted = [row for row in rows(folder, "metrics") if row["slice"] == "overall" and row["attack"] is not None]
    assert len(wanted) > 300
    cells = 0
    for row in wanted:
        for epsilon in ("1", "2", "4", "8") if row["attack"] == "none" else (f"{row['epsilon']:g}",):
            cell = found[row["model"], row["attack"], epsilon, row["metric"]]
            cells += 1
            assert float(cell["value"]) == row["value"]
            assert cell["text"] == f"{row['value']:.3f}"
            assert int(cell["n"]) == row["n"]
            assert (float(cell["lower"]) if "lower" in cell else None) == row["lower"]
            assert (float(cell["upper"]) if "upper" in cell else None) == row["upper"]
    assert cells == len(found)


def test_every_class_is_in_the_heat_map_as_it_is_in_the_table(page: webdriver.Chrome, folder: Path) -> None:
    cells = shown(page, "heatmap")
    found = {(c["model"], c["column"], c["epsilon"], c["row"], c["metric"]): c for c in cells}
    wanted = [row for row in rows(folder, "metrics") if row["slice"].startswith("dx=")]
    assert {cell["row"] for cell in cells} == set(CLASSES)
    for row in wanted:
        for epsilon in ("1", "2", "4", "8") if row["attack"] == "none" else (f"{row['epsilon']:g}",):
            cell = found.pop((row["model"], row["attack"], epsilon, row["slice"].removeprefix("dx="), row["metric"]))
            assert float(cell["value"]) == row["value"]
            assert int(cell["n"]) == row["n"]
            assert cell["small"] is row["small"]
    assert found == {}


def test_groups_clinic_and_corruptions_show_what_the_tables_hold(page: webdriver.Chrome, folder: Path) -> None:
    metrics = {
        (row["model"], row["attack"], row["epsilon"], row["slice"], row["metric"]): row["value"]
        for row in rows(folder, "metrics")
    }
    for cell in shown(page, "fairness"):
        attack, epsilon = ("none", 0.0) if cell["column"] == "none" else ("worst_case", float(cell["column"]))
        assert float(cell["value"]) == metrics[cell["model"], attack, epsilon, cell["row"], cell["metric"]]
    for cell in shown(page, "clinic"):
        attack = cell["attack"] if float(cell["row"]) else "none"
        place = (cell["model"], attack, float(cell["row"]), "overall", cell["column"])
        assert float(cell["value"]) == metrics[place]
    corrupted = {
        (row["model"], row["corruption"], str(row["severity"]), row["metric"]): row["value"]
        for row in rows(folder, "corruptions")
    }
    single = [c for c in shown(page, "corruption-table") if c["row"] != "mean" and c["column"] not in ("0", "mean")]
    assert len(single) == len(corrupted)
    for cell in single:
        assert float(cell["value"]) == corrupted[cell["model"], cell["row"], cell["column"], cell["metric"]]


def test_nothing_is_said_on_the_console_and_nothing_leaves_the_page(page: webdriver.Chrome, path: Path) -> None:
    choose(page, "matrix", "metric", "balanced_accuracy")
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith("data:")} == {path.as_uri()}


def test_the_page_forbids_itself_the_network(page: webdriver.Chrome) -> None:
    blocked = page.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.violatedDirective));"
        "fetch('https://example.org/').catch(() => {});"
    )
    assert blocked == "connect-src"
    page.get_log("browser")


def test_the_verdict_comes_first_with_each_threshold(page: webdriver.Chrome) -> None:
    assert page.find_element(By.CSS_SELECTOR, "main section").get_attribute("id") == "verdict"
    assert "Refused" in page.find_element(By.CSS_SELECTOR, ".verdict .stamp").text
    thresholds = page.find_elements(By.CSS_SELECTOR, "#gate tbody tr")
    assert ["pass" in thresholds[0].text, "fail" in thresholds[1].text] == [True, True]
    assert "not judged" in thresholds[2].text
    assert "0.211 to 0.329" in thresholds[1].text and "218" in thresholds[1].text


def test_a_control_shows_another_metric_and_says_so(page: webdriver.Chrome) -> None:
    assert visible_panel(page, "matrix").get_attribute("data-epsilon") == "4"
    choose(page, "matrix", "metric", "macro_auc")
    choose(page, "matrix", "epsilon", "1")
    panel = visible_panel(page, "matrix")
    assert (panel.get_attribute("data-metric"), panel.get_attribute("data-epsilon")) == ("macro_auc", "1")
    said = page.find_element(By.CSS_SELECTOR, "[aria-live]").get_attribute("textContent") or ""
    assert "Macro AUC at ε 1/255" in said


def test_a_column_sorts_by_keyboard(page: webdriver.Chrome) -> None:
    panel = visible_panel(page, "matrix")
    heading = panel.find_elements(By.CSS_SELECTOR, "thead th")[1]
    button = heading.find_element(By.TAG_NAME, "button")
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)

    def models() -> list[str]:
        return [row.get_attribute("data-row") or "" for row in panel.find_elements(By.CSS_SELECTOR, "tbody tr")]

    assert heading.get_attribute("aria-sort") == "ascending"
    assert models() == ["constant", "trades", "fgsm", "vanilla"]
    button.send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "descending"
    assert models() == ["vanilla", "fgsm", "trades", "constant"]


def test_a_figure_tells_interval_and_n_on_focus_and_hover_and_arrows_move(page: webdriver.Chrome) -> None:
    panel = visible_panel(page, "matrix")
    cells = panel.find_elements(By.CSS_SELECTOR, "tbody tr:first-child td")
    tip = page.find_element(By.ID, "tip")
    page.execute_script("arguments[0].focus()", cells[0])
    assert tip.is_displayed()
    for text in ("vanilla", "Clean", "0.8400", "95 % interval 0.824 to 0.856", "n = 1,930"):
        assert text in tip.text
    cells[0].send_keys(Keys.ARROW_RIGHT)
    assert page.switch_to.active_element == cells[1]
    assert "fgsm" in tip.text
    cells[1].send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()

    def told_of_pgd(_: Any) -> bool:
        # A pointer that rests there already, or a page that still scrolls, gives no event: come from elsewhere.
        webdriver.ActionChains(page).move_to_element(cells[0]).move_to_element(cells[2]).perform()
        return "pgd" in tip.text

    WebDriverWait(page, 60).until(told_of_pgd)


def test_the_gallery_begins_with_missed_melanomas_and_filters(page: webdriver.Chrome) -> None:
    first = page.find_element(By.CSS_SELECTOR, "#exhibits .exhibit")
    assert "Melanoma called benign" in first.text
    assert len(first.find_elements(By.TAG_NAME, "img")) == 3
    assert page.execute_script("return [...document.images].every(i => i.naturalWidth === 64 && i.alt)")
    choose(page, "exhibits", "model", "trades")
    choose(page, "exhibits", "truth", "nv")
    (left,) = (e for e in page.find_elements(By.CSS_SELECTOR, "#exhibits .exhibit") if e.is_displayed())
    assert left.get_attribute("data-model") == "trades"
    assert "nv 0.90" in left.text and "mel 0.88" in left.text
    assert "1 of 18 images" in page.find_element(By.CSS_SELECTOR, '[data-count="exhibits"]').text


def test_six_images_are_shown_and_the_rest_on_demand(page: webdriver.Chrome) -> None:
    def displayed() -> int:
        return sum(e.is_displayed() for e in page.find_elements(By.CSS_SELECTOR, "#exhibits .exhibit"))

    more = page.find_element(By.CSS_SELECTOR, "#flips button.more")
    assert (displayed(), more.text) == (6, "Show all 18 images")
    page.execute_script("arguments[0].focus()", more)
    more.send_keys(Keys.ENTER)
    assert displayed() == 18
    assert not more.is_displayed()
    assert page.execute_script("return document.activeElement.classList.contains('exhibit')")


def test_an_image_is_shown_once_as_the_candidate_took_it(lineage: Lineage, tmp_path: Path) -> None:
    write_evaluation(tmp_path)
    flips = gallery_rows()
    mine = next(row for row in flips if row["model"] == MODELS[-1] and row["danger"] == 0)
    others = [{**mine, "model": model, "danger": 9} for model in MODELS[:-1]]
    pq.write_table(pa.Table.from_pylist([*flips, *others]), tmp_path / "gallery.parquet")
    evaluation = replace(read_evaluation(str(tmp_path)), blessing=Blessing.model_validate(blessing(MODELS[-1], False)))

    shown = gallery(evaluation)

    assert (len(shown.exhibits), shown.images, shown.total) == (18, 18, 20)
    (exhibit,) = (each for each in shown.exhibits if each.flip.image_id == mine["image_id"])
    assert (exhibit.flip.model, exhibit.flip.danger) == (MODELS[-1], 0)
    assert {each.flip.model for each in shown.exhibits[:6]} == {MODELS[-1]}


def test_checks_that_do_not_pass_are_shown_and_those_that_pass_are_folded(page: webdriver.Chrome) -> None:
    order = [row.get_attribute("data-status") for row in page.find_elements(By.CSS_SELECTOR, "#check-rows tr")]
    assert order == ["fail"] + ["warn"] * 3
    passed = page.find_elements(By.CSS_SELECTOR, "#passed-checks tr")
    assert [row.is_displayed() for row in passed] == [False] * 3
    summary = page.find_element(By.CSS_SELECTOR, "#checks summary")
    assert summary.text == "3 checks pass"
    summary.send_keys(Keys.ENTER)
    assert all(row.is_displayed() for row in passed)


def test_the_findings_compare_with_the_baseline(page: webdriver.Chrome) -> None:
    (found,) = page.find_elements(By.CSS_SELECTOR, "#verdict .finding")
    assert found.text.startswith("At ε 1/255, fgsm and trades are better than vanilla: worst-case accuracy 0.")


def test_a_model_that_is_worse_than_the_baseline_is_told_apart(evaluation: Evaluation) -> None:
    turned = tuple(
        replace(row, change=-row.change) if row.model == "fgsm" else row for row in evaluation.comparisons or ()
    )

    worse, better = headline(replace(evaluation, comparisons=turned)).findings

    assert worse.startswith("At ε 1/255, fgsm is worse than vanilla: worst-case accuracy 0.")
    assert better.startswith("At ε 1/255, trades is better than vanilla")


def test_dark_screens_have_dark_pages_on_which_text_stands_out(page: webdriver.Chrome) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    try:
        assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(18, 26, 36)"
        assert page.execute_script(CONTRAST) == []
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_first_stop_of_the_tab_key_is_the_link_past_the_navigation(page: webdriver.Chrome) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.execute_script(FOCUSED) == ["A", "Skip to the content"]
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.execute_script("return document.activeElement.id") == "main"


def test_tables_charts_and_regions_have_names(page: webdriver.Chrome) -> None:
    for selector in (
        "table:not(:has(caption))",
        "th:not([scope])",
        "svg[role=img]:not(:has(title)):not(:has(desc))",
        "svg:not([role=img]):not([aria-hidden])",
        "[role=region]:not([aria-label])",
        "select:not(label select)",
        "section:not([aria-labelledby])",
        "img:not([alt])",
    ):
        assert page.find_elements(By.CSS_SELECTOR, selector) == [], selector
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_text_stands_out_from_its_background(page: webdriver.Chrome) -> None:
    assert page.execute_script(CONTRAST) == []


def test_a_telephone_shows_it_without_scrolling_sideways(page: webdriver.Chrome) -> None:
    set_width(page, 400)
    assert page.execute_script(WIDE) <= 400
    region = visible_panel(page, "matrix").find_element(By.CSS_SELECTOR, ".scroll")
    assert page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", region)
    assert region.get_attribute("tabindex") == "0"
    hint = "return getComputedStyle(arguments[0], '::before').content"
    assert "more columns to the right" in page.execute_script(hint, region)
    set_width(page, 1280)
    assert page.execute_script(hint, region) == "none"


@pytest.mark.parametrize(("width", "columns"), [(1280, 5), (400, 2)])
def test_the_layout_holds(width: int, columns: int, page: webdriver.Chrome) -> None:
    """The verdict is on the first screen, the five facts stand side by side, nothing covers or leaves its place."""
    set_width(page, width)
    boxes = page.execute_script(BOXES)
    verdict, facts = boxes["verdict"][0], boxes["facts"]

    assert verdict["bottom"] < 900
    assert len(facts) == 5
    first = [box for box in facts if box["top"] == facts[0]["top"]]
    assert len(first) == columns
    assert boxes["overlaps"] == []
    assert boxes["outside"] == []


def test_it_prints(page: webdriver.Chrome) -> None:
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") > 3


def test_without_scripts_everything_can_be_read(browser: webdriver.Chrome, path: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(path.as_uri())
        panels = browser.find_elements(By.CSS_SELECTOR, "#matrix > .panel")
        assert len(panels) > 10 and all(panel.is_displayed() for panel in panels[:5])
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.timing
def test_four_models_with_full_galleries_are_small_and_open_quickly(
    browser: webdriver.Chrome, lineage: Lineage, tmp_path: Path
) -> None:
    write_evaluation(tmp_path, ("vanilla", "fgsm", "pgd", "trades"), gallery=12)
    page = tmp_path / "report.html"
    page.write_text(render_page(read_evaluation(str(tmp_path)), lineage), encoding="utf-8")
    assert page.stat().st_size < 5 * MEGABYTES
    browser.get(page.as_uri())
    assert len(browser.find_elements(By.CSS_SELECTOR, ".exhibit")) == 48
    timing = "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime"
    assert 0 < browser.execute_script(timing) < 2000


def test_a_gallery_too_large_for_a_page_is_cut_and_says_so(lineage: Lineage, tmp_path: Path) -> None:
    write_evaluation(tmp_path, gallery=90)
    page = render_page(read_evaluation(str(tmp_path)), lineage)
    assert len(page) < 5 * MEGABYTES
    assert "270 flips of 270 images" in page
    assert " images are left out to keep this page small" in page


def test_names_that_look_like_markup_stay_text(browser: webdriver.Chrome, lineage: Lineage, tmp_path: Path) -> None:
    evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    attacks = {**ATTACKS, evil: {"attack": evil}}
    write_evaluation(tmp_path, (*MODELS[:2], evil), attacks=attacks, notes=[evil])
    page = tmp_path / "report.html"
    page.write_text(render_page(read_evaluation(str(tmp_path)), lineage), encoding="utf-8")
    browser.get(page.as_uri())
    assert "owned" not in browser.title
    assert evil in (visible_panel(browser, "matrix").get_attribute("textContent") or "")
    assert browser.find_elements(By.CSS_SELECTOR, "img[src=x]") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    cell = visible_panel(browser, "matrix").find_element(By.CSS_SELECTOR, "tbody tr:nth-last-child(2) td")
    browser.execute_script("arguments[0].tabIndex = 0; arguments[0].focus()", cell)
    assert evil in browser.find_element(By.ID, "tip").text
