"""The page in a real browser: it says what Python says, and can be used by hand, by keys and by ear."""

import re
import shutil

import numpy as np
import pytest

import fastnn
from fastnn import MLP, Dense, Input
from fastnn.data import load
from fastnn.errors import ConfigError, ModelFileError
from fastnn.formats import html
from fastnn.layers import ACTIVATIONS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def digits():
    """A network that has seen some of MNIST."""
    train, _ = load("mnist")
    net = MLP([Input(784, scale=1 / 255), Dense(48, "relu"), Dense(24, "tanh"), Dense(10, "softmax")], seed=0)
    net.metadata.update(classes=list("0123456789"), image=(28, 28), largest=255.0, metrics={"test_accuracy": 0.9})
    net.fit(train.X[:20_000], train.y[:20_000], epochs=3)
    return net


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """An empty page, which at the end must have had no error, and asked for nothing but its own file."""
    found = browser.new_page()
    faults, asked = [], []
    found.on("console", lambda message: faults.append(message.text))
    found.on("pageerror", lambda error: faults.append(str(error)))
    found.on("request", lambda request: asked.append(request.url))
    yield found
    assert faults == []
    assert all(url.startswith("file:") for url in asked)
    found.close()


def opened(page, tmp_path, network, weights="float32"):
    html.save(tmp_path / "net.html", network, weights)
    page.goto((tmp_path / "net.html").as_uri())


DRAW = """digits => digits.map(pixels => {
  const pad = document.getElementById("pad"), ink = pad.getContext("2d"), unit = pad.width / 28;
  ink.clearRect(0, 0, pad.width, pad.height);
  pixels.forEach((value, k) => {
    ink.fillStyle = `rgba(0, 0, 0, ${value / 255})`;
    if (value) ink.fillRect(k % 28 * unit, Math.floor(k / 28) * unit, unit, unit);
  });
  look();
  return window.fastnn;
})"""


STYLE = "name => getComputedStyle(document.documentElement).getPropertyValue(name)"
# width and height of what is drawn, as shares of the pad's
INKED = """() => {
  const pad = document.getElementById("pad"), { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
  const xs = [], ys = [];
  for (let k = 0; k < data.length / 4; k++) if (data[4 * k + 3] > 127) {
    xs.push(k % pad.width);
    ys.push(Math.floor(k / pad.width));
  }
  const extent = (places) => places.reduce((a, b) => Math.max(a, b)) - places.reduce((a, b) => Math.min(a, b)) + 1;
  return [extent(xs) / pad.width, extent(ys) / pad.height];
}"""


@in_a_browser
@pytest.mark.parametrize(("weights", "bound"), [("float32", 1e-4), ("float16", 1e-2)])
def test_digits_that_are_drawn_are_predicted_as_in_python(page, tmp_path, digits, weights, bound):
    _, test = load("mnist")
    opened(page, tmp_path, digits, weights)
    found = page.evaluate(DRAW, test.X[:200].tolist())
    classes = np.array([np.argmax(one["probabilities"]) for one in found])
    assert np.mean(classes == digits.predict(test.X[:200])) >= 0.99
    given = np.array([one["x"] for one in found])
    np.testing.assert_allclose([one["probabilities"] for one in found], digits.predict_proba(given), atol=bound)
    assert np.mean(np.abs(given - test.X[:200]).max(axis=1) <= 1) > 0.99, "they are centred as they were"


@in_a_browser
def test_a_mouse_draws_and_what_is_seen_is_said(page, tmp_path, digits):
    opened(page, tmp_path, digits)
    assert page.inner_text("#answer") == "…"
    room = page.locator("#pad").bounding_box()
    x, y = room["x"] + room["width"] / 2, room["y"]
    page.mouse.move(x, y + 40)
    page.mouse.down()
    page.mouse.move(x, y + 240, steps=20)
    page.mouse.up()
    assert re.fullmatch(r"1, \d+\.\d%", page.inner_text("#answer")), "an upright line is a one"
    shares = [float(text.rstrip("%")) for text in page.locator("#bars .value").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.6)
    assert "units are above 0" in page.locator(".hidden").first.get_attribute("aria-label")
    page.click("#undo")
    assert page.inner_text("#answer") == "…"


@in_a_browser
def test_keys_draw_too(page, tmp_path, digits):
    opened(page, tmp_path, digits)
    page.focus("#pad")
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    assert page.inner_text("#answer") == "…"
    for _ in range(18):
        page.keyboard.press("Shift+ArrowDown")
    assert page.inner_text("#answer").startswith("1, ")
    page.keyboard.press("Delete")
    assert page.inner_text("#answer") == "…"


@in_a_browser
@pytest.mark.parametrize("image", [(8, 8), (4, 12), (64, 64)])
def test_images_of_any_size_can_be_drawn(page, tmp_path, image):
    rows, columns = image
    net = MLP.from_sizes([rows * columns, 3])
    net.metadata.update(image=image, largest=16.0)
    opened(page, tmp_path, net)
    assert f"scaled to fill {columns} × {rows} pixels" in page.inner_text("#input")
    room = page.locator("#pad").bounding_box()
    assert room["width"] / room["height"] == pytest.approx(columns / rows, rel=0.02)
    page.mouse.move(room["x"] + room["width"] * 0.2, room["y"] + room["height"] * 0.6)
    page.mouse.down()
    page.mouse.move(room["x"] + room["width"] * 0.4, room["y"] + room["height"] * 0.6, steps=9)
    page.mouse.up()
    across, high = page.evaluate(INKED)
    assert 0.07 < high < 0.27 < across < 0.35, "a line of a pixel's width, or of a 13th of the pad's"
    seen = np.reshape(page.evaluate("window.fastnn.x"), image)
    assert 15 < seen.max() <= 16
    assert (seen.max(axis=0) > 0).all(), "a small drawing in a corner fills the width"
    assert seen.sum(axis=1) @ np.arange(rows) / seen.sum() == pytest.approx((rows - 1) / 2, abs=0.2)


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(page, tmp_path, digits, scheme):
    page.emulate_media(color_scheme=scheme)
    opened(page, tmp_path, digits)
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )

    def light(colour):
        return sum(map(int, re.findall(r"\d+", colour))) / 3

    def luminance(colour):  # WCAG 2.2's, of what the page calls a colour
        parts = [int(page.evaluate(STYLE, colour).strip()[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        return np.dot(
            [0.2126, 0.7152, 0.0722], [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        )

    for thing in ("--edge", "--bar", "--best"):
        for ground in ("--paper", "--field"):
            low, high = sorted([luminance(thing), luminance(ground)])
            assert (high + 0.05) / (low + 0.05) >= 3, f"{thing} on {ground}"
    edges = page.evaluate(
        "['#pad', '#seen', 'button', '.hidden'].map(one => getComputedStyle(document.querySelector(one)).borderColor)"
    )
    assert len(set(edges)) == 1
    assert abs(light(paper) - light(ink)) > 180
    assert (light(paper) > light(ink)) == (scheme == "light")


@in_a_browser
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_is_the_networks_own(page, tmp_path, activation):
    hidden, output = ("tanh", "softmax") if activation == "softmax" else (activation, "identity")
    net = MLP([Input(4, scale=(1, 2, 0.5, 3), shift=0.25), Dense(6, hidden), Dense(3, output)], seed=1)
    opened(page, tmp_path, net)
    for x in np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32) * 3:
        for field, value in zip(page.locator("input").all(), x, strict=True):
            field.fill(repr(float(value)))
        # sums of six products in double precision there, in float32 here
        np.testing.assert_allclose(
            page.evaluate("window.fastnn.probabilities"), net.outputs(x[None])[0], rtol=1e-5, atol=1e-5
        )


@in_a_browser
def test_fields_say_what_they_cannot_take(page, tmp_path):
    net = MLP.from_sizes([3, 2])
    net.metadata["features"] = ["length", "width", "height"]
    opened(page, tmp_path, net)
    invalid = "all => all.map(one => one.getAttribute('aria-invalid'))"
    page.locator("input").nth(1).fill("much")
    assert page.inner_text("[role=alert]") == "Not a number: width “much”"
    assert page.inner_text("#answer") == "…"
    assert page.locator("input").evaluate_all(invalid) == ["false", "true", "false"]
    page.locator("input").nth(2).fill("1e999")
    assert page.inner_text("[role=alert]") == "Not a number: width “much”, height “1e999”"
    for place in (1, 2):
        page.locator("input").nth(place).fill(" 1.5 ")
    assert page.inner_text("[role=alert]") == ""
    assert page.locator("input").evaluate_all(invalid) == ["false"] * 3
    opened(page, tmp_path, MLP.from_sizes([100, 2]))
    for text, fault in (
        ("1 2 3", "3 numbers; the network takes 100"),
        ("1 2 x" + " 0" * 97, "Not a number: number 3 “x”"),
        ("x " * 100, "Not a number: number 1 “x”, number 2 “x”, number 3 “x” and 97 more"),
        ("0 " * 100, ""),
    ):
        page.fill("textarea", text)
        assert page.inner_text("[role=alert]") == fault
        assert page.locator("textarea").evaluate_all(invalid) == [str(bool(fault)).lower()]


@in_a_browser
def test_outputs_that_exclude_no_other_have_bars_and_names_of_their_own(page, tmp_path):
    net = MLP([Input(1), Dense(3, "sigmoid")], loss="binary_cross_entropy")
    net.metadata.update(classes=None, outputs=["beach", "city", "snow"])
    net.parameters()[0][0][...] = [[2, 1, -3]]
    opened(page, tmp_path, net)
    assert page.inner_text("#answer") == "none above 50%"
    page.fill("input", "1")
    chances = net.outputs(np.ones((1, 1)))[0]
    assert page.inner_text("#answer") == f"beach, {chances[0]:.1%}; city, {chances[1]:.1%}"
    assert page.locator("#bars .value").all_inner_texts() == [f"{chance:.1%}" for chance in chances]
    shares = "fills => fills.map(fill => parseFloat(fill.style.width) / 100)"
    np.testing.assert_allclose(page.locator("#bars .fill").evaluate_all(shares), chances, atol=1e-5)
    net.metadata["outputs"] = ["too few"]
    opened(page, tmp_path, net)
    assert page.locator("#bars .name").all_inner_texts() == ["output 1", "output 2", "output 3"]


@in_a_browser
def test_a_regression_names_its_target_and_shows_no_bars(page, tmp_path):
    net = MLP([Input(1), Dense(1, "identity")])
    net.metadata.update(classes=None, settings={"data.label": "price"})
    net.parameters()[0][1][...] = 123456
    opened(page, tmp_path, net)
    assert page.inner_text("#answer") == "price: 123456"
    assert not page.is_visible("#bars")
    net.metadata["settings"] = {"data.label": 0}
    opened(page, tmp_path, net)
    assert page.inner_text("#answer") == "123456"
    net = MLP([Input(1), Dense(2, "identity")])
    opened(page, tmp_path, net)
    assert page.inner_text("#answer") == "output 1: 0; output 2: 0", "for those who hear it"
    assert page.locator("#bars .value").all_inner_texts() == ["0", "0"]
    assert not page.locator(".track").first.is_visible()


@in_a_browser
@pytest.mark.parametrize("units", [5, 60, 784])
def test_hidden_units_are_small_and_have_a_legend(page, tmp_path, units):
    net = MLP([Input(1), Dense(units, "relu"), Dense(2, "softmax")])
    opened(page, tmp_path, net)
    assert page.is_visible(".legend")
    size = page.locator(".hidden").evaluate("canvas => [canvas.width, canvas.height]")
    room = page.locator(".hidden").bounding_box()
    assert room["width"] / size[0] < 26
    assert room["height"] / size[1] < 26
    assert size[0] * size[1] < units + size[1], "all rows are full, but for the last one's end"
    said = page.locator(".hidden").get_attribute("aria-label")
    assert said == page.inner_text(".hidden + .note") == f"0 of {units} units are above 0"
    page.fill("input", "1")
    largest = float(net.without_last().outputs(np.ones((1, 1))).max())
    assert page.inner_text(".hidden + .note").endswith(f"the strongest colour is {float(f'{largest:.3g}'):g} from 0")


@in_a_browser
def test_long_names_are_shown_in_full_and_bars_stand_in_one_column(page, tmp_path):
    net = MLP.from_sizes([1, 3])
    net.metadata["classes"] = [
        "a sensor on the northern coast, Alaska",
        "a sensor on the northern coast, Maine",
        "W" * 60,
    ]
    net.parameters()[0][0][...] = [[1, -1, 0]]
    for width in (1000, 390):
        page.set_viewport_size({"width": width, "height": 600})
        opened(page, tmp_path, net)
        seen = []
        for value in ("5", "-5"):
            page.fill("input", value)
            seen.append([bar.bounding_box() for bar in page.locator("#bars .track").all()])
        assert seen[0] == seen[1], "nothing moves when another name is bold"
        assert len({(box["x"], box["width"]) for box in seen[0]}) == 1
        cut = "all => all.map(name => name.scrollWidth > name.clientWidth || name.scrollHeight > name.clientHeight)"
        assert page.locator("#bars .name").evaluate_all(cut) == [False] * 3
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_names_cannot_become_markup(tmp_path):
    net = MLP.from_sizes([3, 2])
    net.metadata["classes"] = ["</script><script>alert(1)</script>", "b"]
    html.save(tmp_path / "net.html", net)
    page = (tmp_path / "net.html").read_text(encoding="utf-8")
    assert page.count("</script>") == 1
    assert "default-src 'none'" in page


def test_float16_is_half_as_long_and_refuses_what_it_cannot_hold(tmp_path):
    net = MLP.from_sizes([300, 300, 2])
    sizes = []
    for weights in html.WEIGHTS:
        html.save(tmp_path / "net.html", net, weights)
        sizes.append((tmp_path / "net.html").stat().st_size)
    assert 0.45 < sizes[1] / sizes[0] < 0.6
    net.parameters()[0][0][0, 0] = 1e5
    with pytest.raises(ConfigError, match="65,504"):
        html.save(tmp_path / "net.html", net, "float16")


def test_a_page_cannot_be_loaded(tmp_path):
    MLP.from_sizes([3, 2]).save(tmp_path / "net.html")
    with pytest.raises(ModelFileError, match="reads none"):
        fastnn.load(tmp_path / "net.html")


def test_an_image_of_another_size_is_no_place_to_draw(tmp_path):
    net = MLP.from_sizes([4, 2])
    net.metadata["image"] = [28, 28]
    html.save(tmp_path / "net.html", net)
    assert '"image": null' in (tmp_path / "net.html").read_text(encoding="utf-8")


def test_every_activation_is_on_the_page():
    script = html.TEMPLATE.read_text(encoding="utf-8")
    table = re.search(r"const activations = \{\n(.*?)\n\};", script, re.DOTALL)[1]
    assert set(re.findall(r"^  (\w+)[:,]", table, re.MULTILINE)) == set(html.ACTIVATIONS) == ACTIVATIONS.keys()


def test_what_no_page_can_have_is_said(monkeypatch, tmp_path):
    net = MLP.from_sizes([3, 2, 2], activation="silu")
    with pytest.raises(ConfigError, match=r"unknown type of a page's weights 'int8'; choose one of float32, float16"):
        html.save(tmp_path / "net.html", net, "int8")
    monkeypatch.setattr(html, "ACTIVATIONS", ["relu", "softmax"])
    with pytest.raises(ConfigError, match=r"unknown activation of a page 'silu'; choose one of relu, softmax"):
        html.save(tmp_path / "net.html", net)
    assert not list(tmp_path.iterdir())
