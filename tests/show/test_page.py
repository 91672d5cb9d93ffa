"""The page of a drawing, in a browser that reaches nothing but the page."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.show.drawing import Drawing

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MODES = ("folded", "beside", "hidden")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        why = f"these need playwright and one of {', '.join(BROWSERS)}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        opened = playwright.chromium.launch(executable_path=found, args=options)
        yield opened
        opened.close()


Show = Callable[..., Any]


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Show]:
    """Opens drawings, each in a page of its own, and holds that nothing else is asked for and nothing goes wrong."""
    faults, contexts = [], []

    def opened(drawing: Drawing | Path, **options: Any) -> Any:
        path = drawing if isinstance(drawing, Path) else tmp_path / f"{len(contexts)}.html"
        if isinstance(drawing, Drawing):
            drawing.save(path)
        contexts.append(browser.new_context(viewport={"width": 1400, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.extend([request.url] * (request.url != path.as_uri())))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector(".tracegrad[data-drawn=painted]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def dense(layer: Any, x: Any) -> Any:
    return x @ layer["w"] + layer["b"]


def loss(layers: Any, x: Any, y: Any) -> Any:
    for i, layer in enumerate(layers):
        with tg.named_scope("layer"):
            x = dense(layer, x)
        if i < len(layers) - 1:
            x = np.tanh(x)
    return np.mean((x - y) ** 2)


def network(*sizes: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    layers = [{"b": rng.normal(size=b), "w": rng.normal(size=(a, b))} for a, b in itertools.pairwise(sizes)]
    return layers, rng.normal(size=(3, sizes[0])), rng.normal(size=(3, sizes[-1]))


def unit(w: Any, b: Any, x: Any) -> Any:
    z = np.sum(w * x) + b
    return np.tanh(z)


UNIT = (np.array([0.5, -0.25]), 0.125, np.array([2.0, 3.0]))


def looped(x: Any, ws: Any) -> Any:
    last, each = tg.lax.scan(lambda x, w: (np.tanh(x * w), np.sum(x)), x, ws)
    return np.sum(last) + np.sum(each)


def training(backward: Any = "folded") -> Drawing:
    return tg.draw(tg.value_and_grad(loss), *network(4, 3, 3, 2), backward=backward)


def click(page: Any, item: int, toggle: bool = False) -> None:
    page.locator(f'[data-item="{item}"]{" > .toggle" if toggle else ""}').first.dispatch_event("click")


# ---------------------------------------------------------------------------------------- what the page is made of


def test_stands_alone(show: Show) -> None:
    drawing = training()
    page = show(drawing)
    text = drawing.html()
    data = re.search(r'<script type="application/json" class="graph">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert len(text.encode()) - len(data[1].encode()) - len(str(drawing.graph).encode()) < 120_000
    assert page.locator("pre.listing").is_hidden()
    assert page.evaluate("Object.keys(window).includes('dagre')") is False


def test_without_javascript(show: Show) -> None:
    drawing = training()
    page = show(drawing, java_script_enabled=False)
    assert page.locator("pre.listing").is_visible()
    assert page.locator("pre.listing").text_content() == str(drawing.graph)


def test_the_listing_stays_if_drawing_fails(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "broken.html"
    path.write_text(training().html().replace('"vars":', '"variables":', 1))
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    assert page.locator("pre.listing").is_visible()
    assert len(errors) == 1
    page.close()


def test_several_in_one_page(show: Show, tmp_path: Path) -> None:
    """As the outputs of a notebook stand in one document."""
    path = tmp_path / "notebook.html"
    graphs = [tg.make_graph(unit)(*UNIT), tg.make_graph(looped)(np.ones(3), np.ones((4, 3)))]
    path.write_text(
        "<meta charset=utf-8>" + "".join([graph.draw()._repr_mimebundle_()["text/html"] for graph in graphs])
    )
    page = show(path)
    assert page.locator(".tracegrad svg.stage").count() == 2
    assert page.locator(".tracegrad").nth(0).locator(".equation").count() == 4
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(set(ids)) == len(ids)
    page.locator(".tracegrad").nth(0).locator(".equation").first.click()
    assert page.locator("aside:visible").count() == 1


# ------------------------------------------------------------------------------------------------------ what it says


@pytest.mark.parametrize("mode", MODES)
def test_every_equation_is_accounted_for(show: Show, mode: str) -> None:
    """Boxes, and what is said of closed groups and of hidden derivatives, add up at each state of folding."""
    rng = random.Random(0)
    for drawing in (training(mode), tg.make_graph(tg.grad(looped))(np.ones(3), np.ones((4, 3))).draw(backward=mode)):
        page = show(drawing)
        count = len([node for node in drawing.data["nodes"] if node[0] == 0])
        for _ in range(12):
            shown, drawn, hidden, folded, status = page.evaluate(
                """() => {
                    const texts = (name) => [...document.querySelectorAll(name)].map((e) => e.textContent);
                    return [tracegrad.boxes(), texts("g.equation").length, tracegrad.hidden(), texts("g.group.closed > .note.n1"), texts(".status")[0]];
                }"""
            )
            said = dict(reversed(part.replace(",", "").split(" ", 1)) for part in status.split(" · "))
            assert len(set(shown)) == len(shown) == drawn
            assert len(shown) + hidden == page.evaluate("tracegrad.equations") == count
            assert sum(map(int, said.values())) == count
            assert (
                len(shown) + int(said.get("backward hidden", 0)) + sum([int(text.split()[0]) for text in folded])
                == count
            )
            page.evaluate(f"tracegrad.{rng.choice(['open', 'close'])}({rng.randrange(1, len(drawing.data['groups']))})")


def test_panel(show: Show) -> None:
    """It names the line that `Eqn.source` does and shows it, and leads to what the equation reads and to whose rule it is of."""
    drawing = training()
    page = show(drawing)
    rows = [(i, node) for i, node in enumerate(drawing.data["nodes"]) if node[0] == 0]
    told = page.evaluate(
        """(ids) => ids.map((id) => {
            tracegrad.select(id);
            const texts = (name) => [...document.querySelectorAll("aside " + name)].map((e) => e.textContent);
            const links = [...document.querySelectorAll("aside [data-go]")].map((e) => Number(e.dataset.go));
            return [texts(".equation")[0], texts(".where a")[0], document.querySelector(".where a").href, texts(".source .here"), texts(".source span").length, links, tracegrad.boxes()];
        })""",
        [i for i, _ in rows],
    )
    listing = [re.sub(r" +#.*", "", line).strip() for line in str(drawing.graph).splitlines() if " = " in line]
    for (i, node), eqn, printed, (text, where, link, here, lines, links, boxes) in zip(
        rows, drawing.graph.eqns, listing, told, strict=True
    ):
        assert text == printed
        assert eqn.source is not None
        assert where == f"{eqn.source.file}:{eqn.source.line}"
        assert link == f"vscode://file/{where.lstrip('/')}"
        assert here == [f"{eqn.source.line}{Path(eqn.source.file).read_text().splitlines()[eqn.source.line - 1]}"]
        assert lines == 5
        assert i in boxes
        reads = {a for a, b, _ in drawing.data["edges"] if b == i}
        used = {b for a, b, _ in drawing.data["edges"] if a == i}
        assert set(links) == reads | used | ({node[8]} - {-1}) | {j for j, other in rows if other[8] == i}
    rule, node = next((i, node) for i, node in rows if node[8] >= 0)
    forward = listing[[j for j, _ in rows].index(node[8])]
    page.evaluate(f"tracegrad.select({rule})")
    page.get_by_role("button", name=forward, exact=True).first.click()
    assert page.locator("aside .equation").text_content() == forward


def test_forward_and_backward(show: Show) -> None:
    drawing = training("beside")
    page = show(drawing)
    page.locator('[data-act="unfold"]').click()
    phases = [eqn.phase for eqn in drawing.graph.eqns]
    backward = page.locator("g.equation.derivative").count()
    assert (page.locator("g.equation").count() - backward, backward) == (phases.count(0), len(phases) - phases.count(0))
    page.locator(".mode").select_option("hidden")
    assert page.locator(".derivative, .line.backward").count() == 0
    assert page.locator("g.equation").count() == phases.count(0)
    page.locator(".mode").select_option("folded")
    assert page.locator("g.backward").count() > 0


def test_derivatives_stand_beside(show: Show) -> None:
    """Right of what they are derivatives of, at its height; and pointing at one lights the other."""
    drawing = training("beside")
    page = show(drawing)
    page.locator('[data-act="unfold"]').click()
    places = dict(page.evaluate("[...tracegrad.at]"))
    beside = 0
    for i, node in enumerate(drawing.data["nodes"]):
        if node[0] == 0 and node[7] == 1 and node[8] >= 0:
            partner = node[8]
            if drawing.data["nodes"][partner][6] != drawing.data["groups"][node[6]][2]:
                continue
            here, there = places[i], places[partner]
            assert here["x"] > there["x"] + there["w"]
            beside += 1
            page.locator(f'[data-item="{i}"]').dispatch_event("mouseover")
            assert page.locator(f'.lit[data-item="{partner}"]').count() == 1
    assert beside > 5


def test_values_and_gradients(show: Show) -> None:
    """The numbers in the boxes are what NumPy computes, and its derivatives, to three digits."""
    page = show(tg.draw(unit, *UNIT))
    w, b, x = UNIT
    z = np.sum(w * x) + b
    slope = 1 - np.tanh(z) ** 2
    expected = {
        "w": (w, slope * x), "b": (b, slope), "x": (x, slope * w), "multiply": (w * x, slope * np.ones(2)), "sum": (np.sum(w * x), slope),
        "add": (z, slope), "tanh": (np.tanh(z), 1.0),
    }  # fmt: skip

    def numbers(text: str) -> Any:
        return np.array([float(word) for word in text.replace("−", "-").replace("∂", "").split()])

    for title, (value, gradient) in expected.items():
        box = page.locator("g.box", has=page.get_by_text(title, exact=True))
        np.testing.assert_allclose(numbers(box.locator("text.value").text_content()), np.ravel(value), rtol=5e-3)
        np.testing.assert_allclose(numbers(box.locator("text.gradient").text_content()), np.ravel(gradient), rtol=5e-3)


def test_cells(show: Show) -> None:
    """An array of more than four entries is its cells, and the least, mean and greatest."""
    x = np.linspace(-1.0, 2.0, 12).reshape(3, 4)
    x[0, 0], x[2, 3], x[1, 1] = np.nan, np.inf, 0.0
    page = show(tg.draw(lambda x: x * 2.0, x, gradients=False))
    finite = x[np.isfinite(x)]
    box = page.locator("g.input")
    lines = [
        f"max {finite.max():.2f}",
        f"mean {finite.mean():.3f}",
        f"min {finite.min():.3f}",
        "1 NaN",
        "1 inf",
        "1 zero",
    ]
    assert [text.replace("−", "-") for text in box.locator("text.value").all_text_contents()] == lines
    assert "broken" in box.get_attribute("class")
    areas = {name: box.locator(f"path.{name}").evaluate_all("(all) => all.map((p) => p.getAttribute('d').split('M').length - 1)") for name in ("above", "below", "none")}  # fmt: skip
    assert {name: sum(found) for name, found in areas.items()} == {
        "above": np.sum(finite > 0),
        "below": np.sum(finite < 0),
        "none": 2,
    }


def overlaps(page: Any) -> list[Any]:
    """Pairs of labels, and of labels and boxes, that lie on one another."""
    found: list[Any] = page.evaluate(
        """() => {
            const rect = (element) => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
            const cross = ([a, b, c, d], [e, f, g, h]) => Math.min(c, g) - Math.max(a, e) > 0.5 && Math.min(d, h) - Math.max(b, f) > 0.5;
            const all = (name) => [...document.querySelectorAll(name)];
            const labels = all('.line text').map((e) => [e.textContent, rect(e)]), faults = [];
            const boxes = all('g.box:not(.opened)').map((e) => [e.getAttribute('aria-label'), rect(e.querySelector('.body')), e]);
            labels.forEach(([name, r], i) => { for (const [other, s] of [...labels.slice(i + 1), ...boxes]) if (cross(r, s)) faults.push([name, other]); });
            boxes.forEach(([name, r, box], i) => {
                for (const [other, s] of boxes.slice(i + 1)) if (cross(r, s)) faults.push([name, other]);
                const texts = [...box.querySelectorAll('text')].map(rect);
                texts.forEach((t, j) => {
                    if (t[0] < r[0] - 1 || t[2] > r[2] + 1 || t[1] < r[1] - 1 || t[3] > r[3] + 1) faults.push([name, 'runs out']);
                    for (const u of texts.slice(j + 1)) if (Math.min(t[3], u[3]) - Math.max(t[1], u[1]) > 3 && cross(t, u)) faults.push([name, 'texts']);
                });
            });
            return faults;
        }"""
    )
    return found


@pytest.mark.parametrize("mode", MODES)
def test_nothing_overlaps(show: Show, mode: Any) -> None:
    for drawing in (training(mode), tg.draw(loss, *network(12, 8, 5)), tg.draw(looped, np.ones(3), np.ones((4, 3)))):
        page = show(drawing)
        for act in ("in", "unfold", "fold"):
            page.locator(f'[data-act="{act}"]').click()
            assert overlaps(page) == []


# ------------------------------------------------------------------------------------------------- what one does there


def test_groups_open_and_close(show: Show) -> None:
    page = show(tg.draw(loss, *network(4, 3, 2), depth=0))
    closed = page.locator("g.group:not(.opened)")
    before = closed.count()
    item = int(closed.first.get_attribute("data-item"))
    click(page, item, toggle=True)
    assert page.locator(f'[data-item="{item}"].opened').get_attribute("aria-expanded") == "true"
    click(page, item, toggle=True)
    assert closed.count() == before
    closed.first.dispatch_event("dblclick")
    assert page.locator(".opened").count() == 1


def test_repeated_blocks(show: Show) -> None:
    def deep(x: Any) -> Any:
        for i in range(30):
            with tg.named_scope(f"block_{i}"):
                x = np.tanh(np.sin(x) @ np.ones((2, 2)))
        return x

    page = show(tg.make_graph(deep)(np.ones((2, 2))).draw(depth=0))
    repeat = page.locator("g.repeat")
    assert repeat.locator(".title").text_content() == "block × 30"
    click(page, int(repeat.get_attribute("data-item")), toggle=True)
    assert page.locator("g.group:not(.opened)").count() == 30


def test_search(show: Show) -> None:
    drawing = training()
    page = show(drawing)
    nodes, names = drawing.data["nodes"], [v[0] for v in drawing.data["vars"]]
    found = page.evaluate("tracegrad.search('matmul')")
    assert found == [i for i, node in enumerate(nodes) if node[1] == "matmul"]
    assert [names[v] for v in nodes[page.evaluate("tracegrad.search('g')")[0]][5]] == ["g"]
    line = next(node[10] for node in nodes if node[1] == "tanh")
    assert set(page.evaluate(f"tracegrad.search('test_page.py:{line}')")) == {
        i for i, node in enumerate(nodes) if node[10] == line
    }
    inside = page.evaluate("tracegrad.search('layer')")
    assert {nodes[i][1] for i in inside} >= {"matmul", "add"}
    page.locator("input[type=search]").fill("tanh")
    page.locator("input[type=search]").press("Enter")
    assert page.locator(".selected .title").text_content() == "tanh"
    assert page.locator(".found").count() >= 1
    assert page.evaluate("tracegrad.search('nothing like this')") == []


def test_keys(show: Show) -> None:
    page = show(tg.make_graph(looped)(np.ones(3), np.ones((4, 3))).draw())
    page.evaluate("tracegrad.choose(0)")
    seen = []
    for _ in range(10):
        page.keyboard.press("ArrowDown")
        seen.append(page.locator(".selected").get_attribute("aria-label"))
    assert "output" in seen[-1]
    page.keyboard.press("ArrowUp")
    assert page.locator(".selected").get_attribute("aria-label").startswith("add")
    group = int(page.locator("g.group").first.get_attribute("data-item"))
    page.evaluate(f"tracegrad.choose({group})")
    page.keyboard.press("-")
    assert page.locator(f'[data-item="{group}"]').get_attribute("aria-expanded") == "false"
    page.keyboard.press("+")
    assert page.locator(f'[data-item="{group}"]').get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement.dataset.item") == str(group)
    page.keyboard.press("Escape")
    assert page.locator("aside").is_hidden()
    assert page.locator("g.box:not([aria-label])").count() == 0
    assert page.locator("button:not([aria-label]):visible").count() == 0


def test_zoom_and_pan(show: Show) -> None:
    page = show(training())
    at = lambda: page.evaluate("tracegrad.view")
    before = at()
    page.mouse.move(700, 500)
    page.mouse.wheel(0, -300)
    while at()["k"] <= before["k"]:
        page.wait_for_timeout(20)
    before = at()
    page.mouse.move(60, 700)
    page.mouse.down()
    page.mouse.move(160, 740)
    page.mouse.up()
    assert (at()["x"] - before["x"], at()["y"] - before["y"]) == pytest.approx((100, 40))
    page.locator('[data-act="fit"]').click()
    assert at()["k"] <= 1


def test_pictures(show: Show, tmp_path: Path) -> None:
    """What the buttons save stands alone: an SVG with its text and colours, a PNG."""
    page = show(training())
    for kind in ("svg", "png"):
        with page.expect_download() as waiting:
            page.locator(f'[data-act="{kind}"]').click()
        assert waiting.value.suggested_filename == f"value_and_grad_loss_.{kind}"
        waiting.value.save_as(tmp_path / f"picture.{kind}")
    text = (tmp_path / "picture.svg").read_text()
    root = ElementTree.fromstring(text)
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"matmul", "tanh"} <= words
    assert "var(" not in text
    assert "fill: #" in text
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_themes(show: Show) -> None:
    drawing = tg.make_graph(unit)(*UNIT).draw()
    paper = "getComputedStyle(document.querySelector('.tracegrad')).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 24, 28)"
    assert show(drawing, color_scheme="light").evaluate(paper) == light
    page = show(drawing, color_scheme="dark")
    assert page.evaluate(paper) == dark
    page.emulate_media(media="print")
    assert page.evaluate(paper) == light
    page.emulate_media(media="screen")
    page.locator('[data-act="theme"]').click()
    assert page.evaluate(paper) == light
    assert show(tg.make_graph(unit)(*UNIT).draw(theme="dark"), color_scheme="light").evaluate(paper) == dark


def test_print(show: Show) -> None:
    """Paper has the whole picture on white, and nothing else."""
    page = show(training(), color_scheme="dark")
    size = page.evaluate("tracegrad.size")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    stage = page.locator("svg.stage").bounding_box()
    assert stage["height"] == pytest.approx(stage["width"] * (size["h"] + 16) / (size["w"] + 16), abs=1)
    assert page.locator(".bar").first.is_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("svg.stage").get_attribute("viewBox") is None


# ------------------------------------------------------------------------------------------------------- large graphs


def deep(x: Any, w: Any) -> Any:
    for i in range(48):
        with tg.named_scope(f"block_{i}"):
            with tg.named_scope("attention"):
                q, k, v = x @ w, x @ w, x @ w
                x = x + tg.nn.softmax(q @ k.T) @ v
            with tg.named_scope("mlp"):
                x = x + np.tanh(x @ w) @ w
    return np.sum(x)


def chain(x: Any) -> Any:
    for _ in range(100_000):
        x = np.sin(x)
    return x


@pytest.mark.whole
def test_large_graphs(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    """What a reader waits for, on a quiet machine: the acceptance of the drawn graph, with the figures printed."""
    drawings = {
        "a step of a network": (training(), 1.0),
        "a deep gradient": (tg.make_graph(tg.value_and_grad(deep))(np.ones((4, 4)), np.ones((4, 4))).draw(), 2.0),
        "a long chain": (tg.make_graph(chain)(1.0).draw(), 10.0),
    }
    for name, (drawing, seconds) in drawings.items():
        page = show(drawing)
        painted, equations = page.evaluate("[tracegrad.painted_ms / 1000, tracegrad.equations]")
        boxes = page.locator("g.equation, g.closed").count()
        opened = page.evaluate(
            """() => [...tracegrad.at.keys()].filter((item) => item < 0 && !tracegrad.model.isOpen(item)).slice(0, 6).map((item) => {
                const started = performance.now();
                tracegrad.open(~item);
                return (performance.now() - started) / 1000;
            })"""
        )
        with capsys.disabled():
            print(
                f"\n{name}: {equations} equations, {boxes} boxes, painted in {painted:.2f} s, groups opened in {opened} s"
            )
        assert painted < seconds
        assert boxes <= 60
        assert not opened or np.median(opened) < 0.3
