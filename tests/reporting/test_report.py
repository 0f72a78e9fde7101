"""The written report: complete, self-contained, escaped, the same twice."""

from __future__ import annotations

import base64
import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from biasmatters.reporting import ContactSheet, ReportContent, ReportError, write_report
from biasmatters.reporting.figures import curve_figure
from biasmatters.reporting.sheet import robust_scale, sheet_figure

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags in order, with a check that every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            raise ValueError(f"</{tag}> closes another tag")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, content: ReportContent) -> Path:
    path = tmp_path_factory.mktemp("report") / "demo"
    write_report(path, content)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_every_file_is_there(folder: Path, content: ReportContent) -> None:
    names = sorted(p.name for p in (folder / "figures").iterdir())
    assert names == [
        *(f"areas-fashion_mnist-cnn-{n}.png" for n in ("standard", "symmetric", "unit")),
        *(f"curves-fashion_mnist-cnn-{n}.png" for n in ("standard", "symmetric", "unit")),
        "sheet-1.png",
    ]
    with (folder / "results.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(content.results)
    assert float(rows[1]["value"]) == content.results[1].value
    assert rows[1]["at"] == ""


def test_the_page_is_self_contained(page: Page, folder: Path) -> None:
    assert page.open == []
    assert not page.all("script")
    for image in page.all("img"):
        source = image["src"] or ""
        assert source.startswith("data:image/png;base64,")
        data = base64.b64decode(source.partition(",")[2])
        assert data in {p.read_bytes() for p in (folder / "figures").iterdir()}
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    style = re.search(r"<style>(.*?)</style>", (folder / "index.html").read_text(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_page_is_accessible(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 7
    assert all(len(image["alt"] or "") > 30 for image in images)
    assert len(page.all("figcaption")) == len(images)
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("html")[0]["lang"] == "en"
    assert all(th.get("scope") for th in page.all("th"))
    anchors = {a["href"] for a in page.all("a") if (a["href"] or "").startswith("#")}
    ids = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert anchors <= ids
    assert len(ids) == sum("id" in attributes for _, attributes in page.tags)


def test_page_and_markdown_tell_the_same(folder: Path) -> None:
    html = (folder / "index.html").read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for text in ("only w·x", "82.7", "24.6", "order agrees", "not run: data not available",
                 "+58.1", "Temperature of the softmax", "recalled", "torch", "cached"):  # fmt: skip
        assert text in html
        assert text in markdown
    for line in markdown.splitlines():
        for name in re.findall(r"\]\((figures/[^)]+)\)", line):
            assert (folder / name).is_file()


def test_every_markdown_table_is_rectangular(folder: Path) -> None:
    width = 0
    for line in (folder / "report.md").read_text(encoding="utf-8").splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (width and bars) or bars == width, line
        width = bars


def test_hostile_texts_are_escaped(tmp_path: Path, demo: ModuleType) -> None:
    evil = "<script>alert(1)</script>|x"
    row = demo.row("accuracy_all", 0.9, data=evil, norm=evil)
    content = ReportContent(evil, [row], environment={evil: evil}, missing=[(evil, evil)])
    write_report(tmp_path, content)
    assert not Page((tmp_path / "index.html").read_text(encoding="utf-8")).all("script")
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_same_content_gives_the_same_bytes(
    tmp_path: Path, folder: Path, content: ReportContent
) -> None:
    stale = tmp_path / "figures" / "old.png"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    write_report(tmp_path, content)
    assert not stale.exists()
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


def test_an_empty_report_still_lists_what_was_published(tmp_path: Path) -> None:
    write_report(tmp_path, ReportContent("Nothing yet", []))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("not run at this scale") == 3
    assert "Deletion and insertion curves" not in text


def test_curves_show_the_rows(content: ReportContent) -> None:
    rows = [r for r in content.results if r.normalization == "unit"]
    figure = curve_figure(rows, [("gradient", ""), ("bias_backprop", "uniform")])
    deletion, insertion = figure.axes[:2]
    assert len(deletion.lines) == len(insertion.lines) == 2
    drawn = np.asarray(deletion.lines[0].get_ydata())
    wanted = [r.value for r in rows if (r.metric, r.method) == ("deletion", "gradient")]
    np.testing.assert_allclose(drawn, wanted)


def test_heat_maps_are_centred_with_their_own_scale(demo: ModuleType) -> None:
    sheet = demo.sheet()
    figure = sheet_figure(sheet)
    heat = figure.axes[1].images[0]
    low, high = heat.get_clim()
    assert low == -high == -robust_scale(sheet.maps["Gradient"][0])
    texts = [axes.get_xlabel() for axes in figure.axes]
    assert texts[1] == f"±{high:.2g}"
    assert "all zero" in texts


def test_colour_and_grey_pictures_can_be_drawn() -> None:
    maps = {"A": np.full((2, 5, 5), np.nan), "B": np.ones((2, 5, 5))}
    for shape in ((2, 5, 5), (2, 5, 5, 1), (2, 5, 5, 3)):
        figure = sheet_figure(ContactSheet("t", np.zeros(shape), maps, ["a", "b"]))
        assert len([axes for axes in figure.axes if axes.images]) == 6


def test_robust_scale() -> None:
    values = np.concatenate([np.linspace(-1, 1, 1000), [1e6, np.nan]])
    assert 0.9 < robust_scale(values) < 1.1
    lonely = np.zeros(10_000)
    lonely[3] = -7
    assert robust_scale(lonely) == 7
    assert robust_scale(np.zeros(4)) == 0
    assert robust_scale(np.full(4, np.nan)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 3, 5, 5))}, "channels last"),
        ({"maps": {"A": np.zeros((2, 1, 5, 5))}}, "sum the maps over channels"),
        ({"labels": ["a"]}, "1 labels for 2 pictures"),
    ],
)
def test_sheets_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    sheet = ContactSheet("t", np.zeros((2, 5, 5)), {"A": np.zeros((2, 5, 5))}, ["a", "b"])
    with pytest.raises(ReportError, match=message):
        replace(sheet, **change)  # type: ignore[arg-type]
