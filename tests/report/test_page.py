"""The page: complete in itself, says the verdict, says what is missing, and fits a phone."""

import errno
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fullrank.errors import CheckpointError, SettingError, StorageError
from fullrank.report.page import POLICY, report, report_with_verdicts

Fabricate = Callable[..., Path]
VOID = {"meta", "link", "img", "br", "hr"}


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()


def _parsed(page: Path) -> tuple[Balanced, str]:
    said = page.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(said)
    assert parser.open == []
    return parser, said


def test_a_page_is_complete_in_itself(fabricate: Fabricate, tmp_path: Path) -> None:
    page = report([fabricate(), fabricate("second", collapsed=True)], tmp_path / "out" / "page.html", command="fullrank report")
    parser, said = _parsed(page)
    assert parser.scripts == 0
    assert all(address.startswith("data:") for address in parser.addresses)
    assert parser.addresses
    assert not re.search(r"url\(|@import|https?://", said)
    assert POLICY in html.unescape(said)
    assert page.stat().st_size < 3_000_000
    assert list(page.parent.iterdir()) == [page]


def test_a_healthy_run_says_so_with_its_numbers(fabricate: Fabricate, tmp_path: Path) -> None:
    page, [(name, verdict)] = report_with_verdicts([fabricate()], tmp_path / "page.html")
    _, said = _parsed(page)
    assert name == "first"
    assert verdict.kind == "healthy"
    assert html.escape(verdict.sentence) in said
    assert said.index("Healthy.") < said.index("<h2>"), "the verdict comes before everything else"
    assert "60 rows of 60 records" in said


def test_a_collapsed_embedding_is_named_and_its_alarm_marked(fabricate: Fabricate, tmp_path: Path) -> None:
    page, [(_, verdict)] = report_with_verdicts([fabricate(collapsed=True)], tmp_path / "page.html")
    _, said = _parsed(page)
    assert verdict.kind == "complete"
    assert "The embedding has collapsed completely" in said
    assert "The representation is healthy" in said, "both spaces are always said"
    assert "Alarms of the collapse monitor while training: step 40 (embedding)." in said
    assert said.count('class="alarm"') >= 5
    assert "<title>step 40: The embedding has collapsed" in said


def test_random_weights_are_not_called_collapsed(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate(collapsed=True)
    for name in ("config.json", "metrics.jsonl", "spectrum.jsonl", "events.jsonl", "summary.json"):
        (run / name).unlink()  # as the demo's control has it: features and accuracies
    manifest = run / "features" / "manifest.json"
    _, [(_, verdict)] = report_with_verdicts([run], tmp_path / "page.html")
    assert verdict.level
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"steps": 0}))
    page = report([run], tmp_path / "page.html").read_text()
    assert '<span class="word">Untrained.</span> The weights are random' in page
    assert "collapsed" not in page
    assert "complete collapse" not in page


def test_names_from_files_never_become_markup(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate("<img src=x onerror=alert(1)>")
    parser, said = _parsed(
        report([run], tmp_path / "page.html", title='</title><script>alert("t")</script>', command="<b>x</b>")
    )
    assert parser.scripts == 0
    assert "<script" not in said
    assert "<img src=x" not in said
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co.mp4" in said


@pytest.mark.parametrize(
    ("left_out", "said_instead"),
    [
        ({"with_features": False}, "there is no feature table"),
        ({"with_features": False, "with_spectrum": False}, "Nothing can be said about collapse"),
        ({"with_thumbnails": False}, "were written without thumbnails"),
        ({"embedding": False}, "only the representation was judged"),
        ({"with_evaluation": False}, "No accuracy was measured"),
        ({"finished": False}, "did not end by itself: its last logged step is 298"),
        ({"with_spectrum": False}, "No spectrum was measured"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    fabricate: Fabricate, tmp_path: Path, left_out: dict[str, bool], said_instead: str
) -> None:
    _, said = _parsed(report([fabricate(**left_out)], tmp_path / "page.html"))
    assert said_instead in said


def test_every_single_file_of_a_run_may_be_missing(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate()
    names = [file.name for file in run.iterdir()]
    for name in names:
        copy = tmp_path / "copies" / name
        shutil.copytree(run, copy)
        shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
        _parsed(report([copy], tmp_path / "page.html"))


def test_a_feature_table_alone_is_a_run_without_training(fabricate: Fabricate, tmp_path: Path) -> None:
    _, said = _parsed(report([fabricate() / "features"], tmp_path / "page.html"))
    assert "Nearest neighbours" in said
    assert "Loss terms" not in said


def test_a_line_cut_off_by_an_interruption_is_left_out(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate(finished=False)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 301, "lo')
    _, said = _parsed(report([run], tmp_path / "page.html"))
    assert "its last logged step is 298" in said


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], "{broken", *lines[2:]]))
    with pytest.raises(CheckpointError, match=r"line 2 of .*metrics\.jsonl"):
        report([run], tmp_path / "page.html")


def test_a_loss_that_is_not_finite_is_drawn_as_a_gap(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate()
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    last |= {"step": 301, "loss": float("nan"), "losses": dict.fromkeys(last["losses"], float("nan"))}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(last) + "\n")
    _, said = _parsed(report([run], tmp_path / "page.html"))
    assert "nan" not in re.sub(r'base64,[^"]*', "", said).replace("NaN", "")


def test_features_that_are_not_finite_give_no_verdict_but_a_page(fabricate: Fabricate, tmp_path: Path) -> None:
    run = fabricate()
    broken = np.load(run / "features" / "representation.npy")
    broken[3, 5] = np.nan
    np.save(run / "features" / "representation.npy", broken)
    page, [(_, verdict)] = report_with_verdicts([run], tmp_path / "page.html")
    _parsed(page)
    assert verdict.kind == "unknown"
    assert "finite" in verdict.sentence


def test_a_comparison_has_a_row_and_a_colour_for_each_run(fabricate: Fabricate, tmp_path: Path) -> None:
    runs = [fabricate("a"), fabricate("b", collapsed=True), fabricate("c", with_features=False, with_evaluation=False)]
    _, said = _parsed(report(runs, tmp_path / "page.html"))
    table = said[said.index("Side by side") : said.index("Over time")]
    assert re.findall(r'<th scope="row">(\w+)</th>', table) == ["a", "b", "c"]
    assert "complete collapse" in table
    assert table.count("78.0") == 2
    assert said.count('<details class="run">') == 3


def test_runs_of_one_name_are_told_apart(fabricate: Fabricate, tmp_path: Path) -> None:
    _, verdicts = report_with_verdicts([fabricate("x/first"), fabricate("y/first")], tmp_path / "page.html")
    assert [name for name, _ in verdicts] == ["x/first", "y/first"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "a.jpg").touch()
    with pytest.raises(CheckpointError, match=r"holiday must be a run folder .* Got a folder with a\.jpg"):
        report([tmp_path / "holiday"], tmp_path / "page.html")
    with pytest.raises(CheckpointError, match="must be an existing folder. Got .*nowhere"):
        report([tmp_path / "nowhere"], tmp_path / "page.html")
    with pytest.raises(SettingError, match="at least one run"):
        report([], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_full_disk_leaves_the_older_page(fabricate: Fabricate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = report([fabricate()], tmp_path / "page" / "page.html")
    before = page.read_text(encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match=r"No space left on device\. An older page is intact"):
        report([fabricate("second")], page)
    assert page.read_text(encoding="utf-8") == before
    assert list(page.parent.iterdir()) == [page]


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: the report is not opened in a browser")
    return found


def _dump(chromium: str, page: Path, tmp_path: Path) -> tuple[str, str]:
    """(DOM after scripts, messages of the browser)."""
    done = subprocess.run(
        [
            *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *(
                "--hide-scrollbars",
                "--virtual-time-budget=3000",
                f"--user-data-dir={tmp_path / 'profile'}",
                "--window-size=900,1200",
            ),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def test_a_browser_opens_the_page_on_a_phone_without_overflow_or_complaint(
    fabricate: Fabricate, tmp_path: Path, chromium: str
) -> None:
    """The page is framed at 360 pixels by a page of the test's own, which measures it and lists what it loaded."""
    name = "a_run_whose_name_is_long_enough_to_leave_the_screen_if_nothing_breaks_it"
    runs = [fabricate(name, collapsed=True), fabricate("second")]
    page = report(runs, tmp_path / "page.html").read_text(encoding="utf-8").replace("<details", "<details open")
    one = report(runs[:1], tmp_path / "one.html").read_text(encoding="utf-8").replace("<details", "<details open")
    frames = "".join(f'<iframe width=360 height=800 srcdoc="{html.escape(said, quote=True)}"></iframe>' for said in (page, one))
    measure = """<script>onload = () => { document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(f => {
        const d = f.contentDocument, e = d.documentElement;
        const out = [...d.body.querySelectorAll("*")].filter(x => !x.closest(".scroll") && !x.closest("svg")
          && x.getBoundingClientRect().right > 361).map(x => x.tagName + "." + x.className);
        return {width: e.scrollWidth, out, loaded: f.contentWindow.performance.getEntriesByType("resource").map(r => r.name)
          .filter(n => !n.startsWith("data:")), images: [...d.images].filter(i => !i.naturalWidth).length,
          verdict: d.body.innerText.includes("The embedding has collapsed completely")} })) }</script>"""
    framed = tmp_path / "framed.html"
    framed.write_text(f"<!doctype html><meta charset=utf-8><title>-</title>{frames}{measure}", encoding="utf-8")
    dom, messages = _dump(chromium, framed, tmp_path)
    found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    for seen in found:
        assert seen == {"width": 360, "out": [], "loaded": [], "images": 0, "verdict": True}
    assert "CONSOLE" not in messages, messages


def test_a_browser_shows_the_verdict_of_the_page_itself(fabricate: Fabricate, tmp_path: Path, chromium: str) -> None:
    page = report([fabricate(collapsed=True)], tmp_path / "page.html")
    dom, messages = _dump(chromium, page, tmp_path)
    assert "The embedding has collapsed completely" in dom
    assert "CONSOLE" not in messages, messages
