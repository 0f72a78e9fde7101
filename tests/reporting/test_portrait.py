"""The figures of one picture, and the page of all of them."""

from dataclasses import replace

import numpy as np
import pytest

from biasmatters.reporting.content import ReportError
from biasmatters.reporting.depths import Depth, Depths, depths_figure
from biasmatters.reporting.gallery import Entry, Gallery, gallery_page
from biasmatters.reporting.portrait import Guess, Portrait, portrait_figure
from biasmatters.reporting.style import png

RNG = np.random.default_rng(0)
GUESSES = [Guess(f"class {k}", k, 0.3 - 0.05 * k, 5.0 - k) for k in range(5)]
PORTRAIT = Portrait(
    title="cat.png",
    network="tiny",
    picture=RNG.random((8, 6, 3)),
    guesses=GUESSES,
    target=GUESSES[1],
    linear=-1.5,
    bias=2.5,
    maps={name: RNG.normal(size=(8, 6)) for name in ("Gradient", "BBp", "A", "B", "C")},
    certificate="exact",
    residual=2e-7,
)
DEPTHS = Depths(
    title="cat.png: where it comes from",
    picture=PORTRAIT.picture,
    shares=[("conv1", 1.0), ("bn1", -0.5), ("fc", 0.25)],
    parts=[
        Depth(("conv1", "bn1"), 0.5, RNG.normal(size=(8, 6))),
        Depth(("fc",), 0.25, np.zeros((8, 6))),
    ],
    note="these maps do not add up",
)
ENTRY = Entry("cat", "tabby", 0.25, 1.0, -1.5, 2.5, 2.5, "exact", 2e-7, ("cat.png",))


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biasmatters.reporting.style.DPI", 30)


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def bars(figure, place: int) -> list[float]:
    return [float(patch.get_width()) for patch in figure.axes[place].patches]


def test_a_portrait_shows_the_picture_the_classes_the_parts_and_every_map() -> None:
    figure = portrait_figure(PORTRAIT)
    assert len(figure.axes) == 3 + 5 + 1  # the last is the colour bar
    assert titles(figure)[:2] == ["tiny: top 5", "The explained logit, f = w·x + b"]
    assert titles(figure)[2:] == list(PORTRAIT.maps)
    assert figure.get_suptitle() == "cat.png: why “class 1”?"
    assert bars(figure, 1) == pytest.approx([guess.probability for guess in GUESSES])
    assert bars(figure, 2) == pytest.approx([-1.5, 2.5, 1.0])
    assert "bias share b / f: 250 %" in texts(figure)
    assert "certificate: exact" in texts(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_the_explained_class_is_shown_beyond_the_likeliest() -> None:
    far = Guess("far away", 77, 0.001, -9.0)
    figure = portrait_figure(replace(PORTRAIT, target=far))
    assert bars(figure, 1) == pytest.approx([*(g.probability for g in GUESSES), 0.001])
    assert "far away" in texts(figure)
    colours = [patch.get_facecolor() for patch in figure.axes[1].patches]
    assert colours.count(colours[0]) == 5
    assert "far away" not in texts(portrait_figure(PORTRAIT))


def test_without_an_output_there_is_no_share() -> None:
    none = replace(PORTRAIT, linear=-2.5)
    assert np.isnan(none.share)
    assert PORTRAIT.share == 2.5
    assert "bias share b / f: undefined, f is 0" in texts(portrait_figure(none))
    assert png(portrait_figure(replace(none, linear=0.0, bias=0.0, maps={}))).startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(6, 8), (3, 8, 6), (8,)])
def test_a_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ReportError, match=r"cat\.png: the map of 'BBp' has the shape"):
        replace(PORTRAIT, maps={"BBp": np.zeros(shape)})


def test_names_are_no_formulas() -> None:
    name = "$x^$ {_}"
    odd = replace(PORTRAIT, title=name, target=replace(GUESSES[0], name=name, index=9))
    assert png(portrait_figure(odd))
    assert png(depths_figure(replace(DEPTHS, title=name)))


def test_depths_show_each_layers_share_and_where_each_part_lands() -> None:
    figure = depths_figure(DEPTHS)
    assert len(figure.axes) == 1 + 1 + 2 + 1
    heads = titles(figure)
    assert heads[1:] == ["Picture", "1: conv1 to bn1\nputs in 0.50", "2: fc\nputs in 0.25"]
    first = figure.axes[0]
    assert [patch.get_height() for patch in first.patches] == [1.0, -0.5, 0.25]
    assert list(first.lines[0].get_ydata()) == [1.0, 0.5, 0.75]
    assert [label.get_text() for label in first.get_xticklabels()] == ["conv1", "bn1", "fc"]
    assert "b = 0.75" in texts(figure)
    assert figure.get_supxlabel() == DEPTHS.note
    assert figure.axes[3].get_xlabel() == "all zero"
    assert png(figure).startswith(b"\x89PNG")


def test_depths_without_any_bias_are_drawn() -> None:
    figure = depths_figure(replace(DEPTHS, shares=[], parts=[], note=""))
    assert len(figure.axes) == 2
    assert "b = 0.00" in texts(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_many_layers_have_few_labels() -> None:
    shares = [(f"layer{k}", 1.0) for k in range(120)]
    parts = [Depth([name for name, _ in shares], 120.0, np.ones((8, 6)))]
    figure = depths_figure(replace(DEPTHS, shares=shares, parts=parts))
    assert 20 <= len(figure.axes[0].get_xticklabels()) <= 26


def test_the_page_escapes_texts_and_quotes_links() -> None:
    odd = replace(ENTRY, name='<i>"a"', guess="<u>&", figures=("a b#c?.png", "javascript:x.png"))
    page = gallery_page(Gallery("<h>", "<s>", [odd], ["<p> is damaged"]))
    for tag in ("<i>", "<u>", "<h>", "<s>", "<p> is"):
        assert tag not in page
    for text in ("&lt;i&gt;&#34;a&#34; explained as &lt;u&gt;&amp;", "<li>&lt;p&gt; is damaged"):
        assert text in page
    assert page.count('="a%20b%23c%3F.png"') == 2
    assert 'src="javascript%3Ax.png"' in page


def test_the_page_has_a_row_for_each_picture() -> None:
    without = replace(ENTRY, name="none", share=None, figures=())
    gallery = Gallery("title", "below", [ENTRY, without])
    page = gallery_page(gallery)
    rows = [[cell.text for cell in row.cells] for row in gallery.table.rows]
    numbers = ["tabby", "25.0 %", "1.00", "−1.50", "2.50"]  # noqa: RUF001
    assert rows[0] == ["cat", *numbers, "250 %", "exact", "2.0×10⁻⁷"]  # noqa: RUF001
    assert rows[1] == ["none", *numbers, "–", "exact", "2.0×10⁻⁷"]  # noqa: RUF001
    assert "none: no PNG was asked for." in page
    assert "cat: no drawing" not in page
    assert "Left out" not in page
