"""Reports: what is collected, what is kept, the page by itself and in a real browser."""

import json
import re
import signal

import attrs
import pytest
import torch
from browser import CHROMIUM, Browser
from pages import HOSTILE, Parsed, Shop, make_plugin, picture
from tiny import GENERATED

import hyperframe as hf
from hyperframe.analysis.page import elements
from hyperframe.analysis.page.document import page
from hyperframe.analysis.plots import keep_grid, keep_lines, keep_scatter
from hyperframe.analysis.report import collect, evaluation_of, report_order
from hyperframe.analysis.runner import chosen_options
from hyperframe.api import make_registry
from hyperframe.component import Component
from hyperframe.errors import ConfigError, HyperframeWarning, NotApplicableError
from hyperframe.hookspecs import hookimpl
from hyperframe.runtime.files import read_json

LONG = "unbroken" * 30


def shown(run, folder):
    """One interactive element of every kind."""
    words = {"title": "A title", "caption": "It says 3."}
    points = {
        "first": {"points": [[i, i * i % 7, -i] for i in range(40)], "axes": ["one", "two", "three"]},
        HOSTILE: {"points": [[1, 2], [3, None]], "axes": [LONG, "b"]},
    }
    x = [0.0, 0.5, 1.0]
    lines = {"up": [1, 2, 3], "gap": [3, None, 1]}
    values = [[1.0, 2.0, 900.0], [3.0, None, 4.0]]
    marks = {"here": (0.5, 1.0), "there": (0.5, 1.0)}
    return {
        "highlights": {"best": "98.6 %", LONG: LONG},
        "pictures": [picture(folder, "point.png", **words)],
        "interactive": [
            keep_scatter(folder, "points.json", points, **words),
            keep_lines(folder, "lines.json", x, lines, labels=("way", "height"), **words),
            keep_grid(folder, "grid.json", x, [0, 1], values, labels=("x", "y", "loss"), marks=marks, **words),
        ],
        "skipped": {"a part": "there is no data"},
        "numbers": list(range(3)),
    }


def hostile(run, folder):
    """Text that would break a page which does not escape it."""
    (folder / "code.json").write_text(
        json.dumps({"x": [0, 1], "lines": {HOSTILE: [0, 1]}, "labels": [HOSTILE, "<!--"]})
    )
    words = {"title": HOSTILE, "caption": HOSTILE}
    return {
        "highlights": {HOSTILE: HOSTILE},
        "pictures": [picture(folder, "point.png", **words)],
        "interactive": [{"file": "code.json", "kind": "lines", **words}],
        "skipped": {HOSTILE: HOSTILE},
        HOSTILE: HOSTILE,
    }


def lost(run, folder):
    """Files that are missing, elsewhere or of a wrong kind, and results of unexpected shapes."""
    (folder / "text.png").write_text("no picture")
    (folder / "torn.json").write_text("{")
    (folder / "empty.json").write_text("{}")
    (folder / "link.png").symlink_to("/etc/hosts")
    names = ["none.png", "../../config.yaml", "/etc/hosts", "link.png", "text.png", "nul\0.png", 7]
    return {
        "pictures": [*({"file": name, "title": f"picture {name}"} for name in names), "no mapping", {}],
        "interactive": [
            {"file": "torn.json", "kind": "grid", "title": "torn"},
            {"file": "empty.json", "kind": "grid", "title": "empty"},
            {"file": "empty.json", "kind": "toString", "title": "unknown"},
        ],
        "highlights": ["no mapping"],
        "skipped": 3,
    }


def inapplicable(run, folder):
    raise NotApplicableError("analysis 'pictorial' does not apply: no images")


def failing(run, folder):
    raise ValueError("on purpose")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    import hyperframe as hf

    return hf.train(
        "digits_hypernetwork", {**GENERATED, "trainer.steps": 1}, out=tmp_path_factory.mktemp("runs") / "a<b>run"
    )


@pytest.fixture(scope="module")
def whole(run):
    """A report with everything in it."""
    with pytest.warns(HyperframeWarning, match="analysis 'lost' of .* no report shows its"):
        return make_plugin(run, shown=shown, hostile=hostile, lost=lost, pictorial=inapplicable, failing=failing)


@pytest.mark.slow
def test_the_page_is_whole(whole):
    _, text = whole
    parsed = Parsed(text)
    assert all(source.startswith("data:image/png;base64,") for source in parsed.sources)
    assert len(set(parsed.places)) == len(parsed.places)
    assert {link for link in parsed.links if link != "data:,"} <= {f"#{place}" for place in parsed.places}
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_the_page_tells_everything(whole):
    content, text = whole
    words = " ".join(Parsed(text).words)
    results = content["evaluation"]
    accuracy = results["accuracy"]
    assert f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f}\u00a0%" in words
    for expected in (
        "a<b>run",
        "digits_cnn on digits · mlp · trade_off, lambda\u00a0=\u00a01,000 · step 1 of 1",
        "98.6\u00a0%",
        "What it is.",
        "Reference: a book",
        "It says 3.",
        "Left out: a part: there is no data",
        "does not apply: no images",
        "analysis 'failing' of shop failed: ValueError: on purpose",
        '"numbers": [0, 1, 2]',
        HOSTILE,
    ):
        assert expected in words


def test_what_is_lost_is_named(whole):
    words = " ".join(Parsed(whole[1]).words)
    for expected in (
        "picture none.png: 'none.png' is missing",
        "picture ../../config.yaml: '../../config.yaml' is not in the analysis' folder",
        "picture /etc/hosts: '/etc/hosts' is not in",
        "picture link.png: 'link.png' is not in",
        "picture text.png: text.png is no PNG picture",
        "picture 7: '7' is missing",
        "torn: ",
    ):
        assert expected in words
    assert "localhost" not in words


def test_the_same_content_gives_the_same_page(run, whole):
    assert make_plugin(run, shown=shown, hostile=hostile, lost=lost, pictorial=inapplicable, failing=failing) == whole


@pytest.mark.parametrize("odd", [{}, [], {"distribution": {"a": 1}}, {"distribution": [1]}, None, 7])
def test_a_page_is_made_of_any_provenance(run, whole, odd):
    rows = [odd, {"distribution": "theirs", "version": "1.0"}]
    text = page({**whole[0], "provenance": {"components": rows, "versions": odd}}, run.folder / "analyses")
    assert "theirs 1.0" in text


@pytest.mark.slow
def test_large_elements_are_shown_and_larger_ones_named(run, monkeypatch):
    def large(run, folder):
        series = {"all": {"points": [[i / 7, i / 3] for i in range(40_000)], "axes": ["a", "b"]}}
        return {"interactive": [keep_scatter(folder, "points.json", series, title="points", caption="")]}

    content, text = make_plugin(run, large=large)
    assert "39999" not in text
    assert "5714.142857" in text
    monkeypatch.setattr(elements, "LARGEST_ELEMENT", 1 << 20)
    assert "bytes; at most 1,048,576 are shown" in page(content, run.folder / "analyses")


def test_a_run_of_values_has_a_report(tmp_path):
    import hyperframe as hf

    shape = {"target.input_shape": [10], "target.outputs": 1, "target.hidden": [6]}
    run = hf.train(
        "digits", {**GENERATED, "task": "diabetes", "target": "mlp", **shape, "trainer.steps": 1}, out=tmp_path / "run"
    )
    content, text = make_plugin(run)
    assert "ensemble: rmse of the mean prediction ↓" in text
    assert "NaN" not in json.dumps(content)
    Parsed(text)


def test_every_analysis_has_its_place():
    order = report_order(make_registry([Shop(zebra=shown, own=shown)]))
    assert [name for name in order if name in ("zebra", "own")] == ["own", "zebra"]
    assert order.index("toy_curve") < order.index("own")


def test_what_is_kept_is_taken(run, monkeypatch):
    shop = Shop(one=lambda run, folder: {"a": 1}, two=lambda run, folder: {"b": 2})
    registry = make_registry([shop])
    first = collect(run, registry, ["one", "two"])
    drawn = []
    monkeypatch.setattr(run, "evaluate", lambda: drawn.append(1) or first["evaluation"])
    assert collect(run, registry, ["one", "two"]) == first
    assert (shop.done, drawn) == (["one", "two"], [])
    collect(run, registry, ["one"], again=True)
    assert (shop.done, drawn) == (["one", "two", "one"], [1])


@pytest.mark.slow
def test_an_evaluation_is_not_taken_where_a_resumption_changed_what_it_depends_on(tmp_path, small):
    run = small(tmp_path / "run", entropy="gaussian")
    before = evaluation_of(run)
    assert evaluation_of(hf.load(run.folder, device="cpu")) == before
    with pytest.warns(HyperframeWarning, match="the run has done 6 steps, which is all"):
        resumed = hf.resume(run.folder, {"entropy": "renyi"})
    again = evaluation_of(resumed)
    assert again == evaluation_of(hf.load(run.folder, device="cpu")) == resumed.evaluate()
    assert again["entropy"] != before["entropy"]


def test_again_takes_no_parts_of_a_call_that_failed(run):
    value = ["wrong", "right"]

    def parted(run, folder):
        found = hf.analysis.in_parts(folder, "things", 1, lambda number: {"value": value[0]})
        if found[0]["value"] == "wrong":
            raise TypeError
        return found[0]

    registry = make_registry([Shop(parted=parted)])
    assert "parted" in collect(run, registry, ["parted"])["failed"]
    value.pop(0)
    assert "parted" in collect(run, registry, ["parted"])["failed"]  # by the part that is kept
    assert collect(run, registry, ["parted"], again=True)["analyses"]["parted"]["result"]["value"] == "right"


@pytest.mark.parametrize("change", [{"seed": 7}, {"split": "validation"}, {"networks": 2}, {"step": 0}, {"run": "x"}])
def test_another_evaluation_is_not_taken(run, change):
    path = run.folder / "analyses" / "evaluation" / "results.json"
    right = run.evaluate()
    path.write_text(json.dumps(right | change))
    assert collect(run, make_registry(), [])["evaluation"] == right
    for damaged in ("{", json.dumps({key: value for key, value in right.items() if key != "examples"})):
        path.write_text(damaged)
        assert collect(run, make_registry(), [])["evaluation"] == right


@pytest.fixture
def command(run, hyperframe, monkeypatch):
    """Run `hyperframe report` with a plugin's analyses; an existing report is removed before and afterwards."""

    def call(shop, *arguments):
        monkeypatch.setattr("hyperframe.api.make_registry", lambda extra=(): make_registry([shop, *extra]))
        return hyperframe("report", run.folder, *arguments)

    yield call
    for name in ("report.html", "results.json"):
        (run.folder / name).unlink(missing_ok=True)


@pytest.mark.slow
def test_the_command(run, command, monkeypatch, tmp_path):
    shop = Shop(own=lambda run, folder: {"highlights": {"a": "1"}}, pictorial=inapplicable)
    names = "--analysis", "own, pictorial"
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    code, out, _ = command(shop, *names, "--open")
    assert code == 0
    assert "left out pictorial: analysis 'pictorial' does not apply: no images" in out
    assert opened == [(run.folder / "report.html").resolve().as_uri()]
    text = (run.folder / "report.html").read_text()
    assert json.loads((run.folder / "results.json").read_text())["analyses"]["own"]["result"]["step"] == 1

    code, out, err = command(shop, *names)
    assert (code, shop.done) == (2, ["own", "pictorial"])
    assert "--again makes all of it anew and replaces it, --out FILE.html writes another one" in err
    code, out, _ = command(shop, *names, "--out", "other.html", "--json")
    assert (code, shop.done) == (0, ["own", "pictorial", "pictorial"])
    assert json.loads(out)["report"] == "other.html"
    assert (tmp_path / "other.html").read_text() == text
    code, _, _ = command(shop, *names, "--again")
    assert (code, shop.done[3:]) == (0, ["own", "pictorial"])
    assert (run.folder / "report.html").read_text() == text


def test_a_failure_leaves_the_rest(run, command):
    shop = Shop(failing=failing, own=lambda run, folder: {"a": 1})
    code, out, err = command(shop, "--analysis", "failing,own")
    assert code == 2
    assert "analysis 'failing' of shop failed: ValueError: on purpose" in err
    assert "Traceback" not in out + err
    text = (run.folder / "report.html").read_text()
    assert 'id="analysis-own"' in text
    assert 'id="failed"' in text


def test_one_that_needs_an_option_stops_no_other(run):
    """A report of all that are installed has it among those that failed, where the option is not given."""

    @attrs.frozen
    class Options:
        count: int

    class Needy:
        __name__ = "needy"

        @hookimpl
        def hyperframe_analyses(self):
            returned = [Component(name="needy", factory=lambda options: lambda run, folder: {}, options=Options)]
            return [*returned, Component(name="own", factory=lambda options: lambda run, folder: {"a": 1})]

    names, registry = ["needy", "own"], make_registry([Needy()])
    content = collect(run, registry, names, chosen_options([], names, registry, installed=True))
    assert content["failed"] == {"needy": "needy.count: a value is needed, a whole number"}
    assert content["analyses"]["own"]["result"]["a"] == 1
    options = chosen_options(["needy.count=3"], names, registry, installed=True)
    assert not collect(run, registry, names, options)["failed"]
    with pytest.raises(ConfigError, match=r"needy\.count: a value is needed"):
        chosen_options([], names, registry)


def test_an_interrupted_report_goes_on(run, command, monkeypatch):
    def interrupted(run, folder):
        if shop.done.count("second") == 1:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    shop = Shop(first=lambda run, folder: {"a": 1}, second=interrupted)
    code, _, err = command(shop, "--analysis", "first,second")
    assert code == 130
    assert "interrupted" in err
    assert not (run.folder / "report.html").exists()
    assert command(shop, "--analysis", "first,second")[0] == 0
    assert shop.done == ["first", "second", "second"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analysis", "nonsense"], "unknown analysis 'nonsense'"),
        (["own.points=3"], "points"),
        (["--analysis", "own", "pca.points=3"], "unknown analysis 'pca'"),
        (["--out", "report.txt"], "ends in .html"),
    ],
)
def test_mistakes_are_told_before_work_begins(command, arguments, message):
    shop = Shop(own=shown)
    code, out, err = command(shop, *arguments)
    assert (code, shop.done) == (2, [])
    assert message in err
    assert "Traceback" not in out + err


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_stand_out(root, scheme):
    text = (root / "hyperframe" / "templates" / "report.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w{6});", re.findall(r":root \{(.*?)\}", text, re.DOTALL)[scheme]))
    least = dict.fromkeys(("text", "quiet", "link", "warn"), 4.5) | {f"c{number}": 3 for number in range(7)}
    for name, contrast in least.items():
        for ground in ("back", "card"):
            one, other = sorted((luminance(colours[name]), luminance(colours[ground])))
            assert (other + 0.05) / (one + 0.05) >= contrast, (name, ground)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    made = Browser(tmp_path_factory.mktemp("browser"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def file(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(whole[1], encoding="utf-8")
    return path


COLOURS_OF = """[...document.querySelectorAll("canvas")].map((canvas) => new Set(new Uint32Array(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size)"""


FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.mark.slow
def test_everything_is_drawn(browser, file):
    browser.open(file)
    assert browser.complaints == []
    assert all(request.startswith(("file:", "data:")) for request in browser.requests)
    assert [request for request in browser.requests if request.startswith("file:")] == [file.resolve().as_uri()]
    points, plane = browser.run(COLOURS_OF)
    assert points > 10
    assert plane > 100
    lengths = browser.run('[...document.querySelectorAll("svg path")].map((path) => path.getTotalLength())')
    assert [length > 0 for length in lengths] == [True, False, True]  # the second one is two points
    assert browser.run("[...document.images].every((image) => image.naturalWidth === 1)")
    assert browser.run("window.broken") is None
    assert browser.run('document.querySelectorAll("#analysis-lost .stage .missing").length') == 2


def test_places_that_grow_by_factors_lie_evenly(run, browser, tmp_path):
    def growing(run, folder):
        lines = {"a": [1, 2, 3, 4, 5, 6]}
        element = keep_lines(folder, "a.json", [1, 2, 5, 10, 20, 50], lines, labels=("n", "y"), title="", caption="")
        return {"interactive": [element]}

    (tmp_path / "report.html").write_text(make_plugin(run, growing=growing)[1], encoding="utf-8")
    browser.open(tmp_path / "report.html")
    left = browser.run("""(() => { const path = document.querySelector("svg path"); const box = path.getBBox();
        return [1, 2, 5, 10, 20, 50].map((n) => box.x + box.width * Math.log(n) / Math.log(50)); })()""")
    drawn = browser.run('document.querySelector("svg path").getAttribute("d")')
    assert sorted({float(x) for x in re.findall(r"[ML]([\d.]+)", drawn)}) == pytest.approx(left, abs=0.1)
    words = browser.run('[...document.querySelectorAll("svg text")].map((text) => text.textContent)')
    assert words[:6] == ["1", "2", "5", "10", "20", "50"]
    assert browser.complaints == []


def test_the_slider_moves_the_cursor(browser, file):
    browser.open(file)
    look = """(() => { const stage = document.querySelector("#analysis-shown svg").parentElement;
        const slider = stage.querySelector("input"); if (PLACE) { slider.focus(); }
        const cursor = stage.querySelector(".cursor").getAttribute("transform");
        return [cursor, stage.querySelector("output").innerText]; })()"""
    before, words = browser.run(look.replace("PLACE", "true"))
    assert words.split() == ["way:", "0", "up:", "1", "gap:", "3"]
    for kind in ("rawKeyDown", "keyUp"):  # a real key, as a reader would press it
        browser.send("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    after, words = browser.run(look.replace("PLACE", "false"))
    assert after != before
    assert words.split() == ["way:", "0.5", "up:", "2", "gap:", "–"]


def test_the_plane_is_read_where_one_points(browser, file):
    browser.open(file)
    place = browser.run(
        """(() => { const canvas = [...document.querySelectorAll("canvas")].at(-1);
        canvas.scrollIntoView({ block: "center", behavior: "instant" }); const box = canvas.getBoundingClientRect();
        return { x: box.left + 70, y: box.top + 25 }; })()"""
    )
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
    assert browser.run('[...document.querySelectorAll("output.read")].at(-1).innerText') == "x 0, y 1: loss 3"


def test_points_are_chosen(browser, file):
    browser.open(file)
    choose = """(() => { const stage = document.querySelector("canvas").parentElement;
        const select = stage.querySelector("select"); select.value = 1; select.dispatchEvent(new Event("change"));
        return [stage.querySelector(".read").innerText, stage.querySelectorAll("select").length]; })()"""
    assert browser.run(choose) == ["1 point", 3]
    assert browser.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(browser, file, scheme):
    browser.open(file, 360, 740, scheme)
    browser.run('document.querySelectorAll("details").forEach((one) => { one.open = true; })')
    assert browser.run("document.documentElement.scrollWidth") == 360
    dark = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    assert browser.complaints == []


def test_the_drawings_follow_the_scheme_and_the_width(browser, file):
    browser.open(file)
    first = 'document.querySelector("canvas").toDataURL()'
    light = browser.run(first)
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.run(FRAMES)
    assert browser.run(first) != light
    wide = browser.run('document.querySelector("canvas").width')
    browser.resize(600, 800)
    browser.run(FRAMES)
    assert browser.run('document.querySelector("canvas").width') < wide
    assert browser.complaints == []


LABELS = {"labels": ("x", "y"), "title": "t", "caption": "s"}


def test_elements_take_arrays_and_tensors(tmp_path):
    hf.analysis.keep_lines(tmp_path, "lines.json", torch.arange(2), {"own": torch.ones(2).numpy()}, **LABELS)
    assert read_json(tmp_path / "lines.json") == {"x": [0, 1], "lines": {"own": [1.0, 1.0]}, "labels": ["x", "y"]}


@pytest.mark.parametrize(
    ("file", "values"),
    [("lines.txt", [1, 2]), ("results.json", [1, 2]), ("lines.json", [1]), ("lines.json", [1, 2, 3])],
)
def test_elements_that_no_page_could_show(tmp_path, file, values):
    with pytest.raises(ValueError, match=file):
        hf.analysis.keep_lines(tmp_path, file, [0, 1], {"own": values}, **LABELS)
    assert not list(tmp_path.iterdir())


def test_points_and_grids_have_the_shape_of_their_axes(tmp_path):
    series = {"own": {"points": [[1.0, 2.0, 3.0]], "axes": ["a", "b"]}}
    with pytest.raises(ValueError, match="one number for each axis"):
        hf.analysis.keep_scatter(tmp_path, "points.json", series, title="t", caption="s")
    labels = {**LABELS, "labels": ("x", "y", "z")}
    with pytest.raises(ValueError, match="a row of 2 for each of 2"):
        hf.analysis.keep_grid(tmp_path, "grid.json", [0, 1], [0, 1], [[1, 2]], marks={}, **labels)
