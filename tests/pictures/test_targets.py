"""Which class is meant by what a person writes."""

import pytest
import torch

from biasmatters.pictures import PictureRequestError
from biasmatters.pictures.targets import choose_class
from tests.pictures.tiny import CATEGORIES

LOGITS = torch.tensor([0.0, 3.0, 9.0, -1.0, 5.0])


def error(text: str, categories: tuple[str, ...] = CATEGORIES) -> str:
    with pytest.raises(PictureRequestError) as caught:
        choose_class(text, categories)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "index"),
    [("top1", 2), ("top3", 1), (" TOP5 ", 3), ("0", 0), ("3", 3), ("Cup", 1), ("a crane", 4)],
)
def test_a_class_by_rank_number_or_name(text: str, index: int) -> None:
    categories = ("tabby", "cup", "rocket", "sock", "A crane")
    assert choose_class(text, categories).among(LOGITS) == index


def test_a_fixed_class_is_the_same_for_every_picture() -> None:
    tabby, best = choose_class("tabby", CATEGORIES), choose_class("top1", CATEGORIES)
    assert [tabby.among(logits) for logits in (LOGITS, -LOGITS)] == [0, 0]
    assert [best.among(logits) for logits in (LOGITS, -LOGITS)] == [2, 3]


def test_an_unknown_name_gets_the_nearest_with_their_numbers() -> None:
    assert "The nearest: tiger cat (1), Persian cat (2), Egyptian cat (10)." in error("cat")
    assert "The nearest: Persian cat (2)" in error("persain cat")
    assert "'persain cat': the network has no such class" in error("persain cat")
    assert error("qqqqqq").endswith("Its number will do as well. Or use top1, top2, ...")


def test_two_near_classes_of_one_name_have_two_numbers() -> None:
    for text in ("cran", "cranes"):
        listed = error(text)
        assert "crane (3)" in listed
        assert "crane (8)" in listed
        assert listed.count("crane (") == 2


def test_the_name_of_several_classes_is_refused_with_their_numbers() -> None:
    assert error("Crane") == "target 'Crane' is the name of several classes: 3, 8."


@pytest.mark.parametrize("text", ["12", "-1", "99999999999999999999"])
def test_a_number_out_of_range(text: str) -> None:
    assert error(text) == f"target {text}: classes are numbered 0 to 11."


def test_a_rank_beyond_the_classes() -> None:
    assert error("top9", CATEGORIES[:5]) == "target top9: there are 5 classes only."
    assert choose_class("top5", CATEGORIES[:5]).rank == 4


@pytest.mark.parametrize("text", ["top0", "top10", "top", "1.5"])
def test_what_only_looks_like_a_rank_or_number(text: str) -> None:
    assert "the network has no such class" in error(text)
