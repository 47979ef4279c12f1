"""The first screen of a report: what analyses conclude, and what of it the page shows."""

import re

import pytest
from pages import HOSTILE, Parsed, make_plugin, picture
from tiny import GENERATED

import hyperframe as hf
from hyperframe.analysis.conclusions import QUESTIONS, conclude, evaluation_sentence
from hyperframe.errors import HyperframeWarning
from hyperframe.metrics import Metric

ACCURACY = Metric(name="accuracy", better="greater", percent=True)
VOTE = Metric(name="vote", label="majority vote", better="greater", of="ensemble", percent=True)
MEAN = Metric(name="mean", label="mean probability", better="greater", of="ensemble", percent=True, mean_of="accuracy")
ERROR = Metric(name="rmse", better="lower", unit="years")
ERROR_OF_MEAN = Metric(name="rmse", better="lower", unit="years", of="ensemble", mean_of="rmse")
SPREAD = {"mean": 0.5, "std": 0.25, "min": 0.25, "max": 0.75}


def evaluation(*metrics, networks=4, **results):
    plain = [metric.plain() for metric in metrics]
    return {"networks": networks, "examples": 1200, "split": "test", "metrics": plain, **results}


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (
            evaluation(ACCURACY, VOTE, MEAN, accuracy=SPREAD, ensemble={"vote": 0.6, "mean": 0.75}),
            "Accuracy: 50.00 ± 25.00 % for one network, 75.00 % for 4 together (mean probability), on 1,200 test "
            "examples.",
        ),
        (
            evaluation(ACCURACY, VOTE, accuracy=0.5, ensemble={"vote": 0.6}),
            "Accuracy: 50.00 % for one network, 60.00 % for 4 together (majority vote), on 1,200 test examples.",
        ),
        (
            evaluation(ERROR, ERROR_OF_MEAN, rmse=SPREAD, ensemble={"rmse": 0.25}),
            "RMSE: 0.5 ± 0.25 years for one network, 0.25 years for 4 together, on 1,200 test examples.",
        ),
        (evaluation(ERROR, networks=1, rmse=2.0), "RMSE: 2 years for the network, on 1,200 test examples."),
        (
            evaluation(VOTE, ensemble={"vote": 0.6}),
            "Majority vote: 60.00 % for 4 together (majority vote), on 1,200 test examples.",
        ),
        (evaluation(Metric(name="apart", of="ensemble"), ensemble={"apart": 1.0}), ""),
        (evaluation(ERROR), ""),
    ],
)
def test_the_evaluation_is_told_by_what_the_task_declares(results, sentence):
    assert evaluation_sentence(results) == sentence


def test_an_unknown_question_is_named():
    with pytest.raises(ValueError, match="unknown question 'qualty'; did you mean 'quality'"):
        conclude("qualty", "Yes.")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {**GENERATED, "trainer.steps": 1}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")


def screen(text):
    """The first screen of a page: for each of its parts the heading, the sentences and the descriptions of pictures."""
    (found,) = re.findall(r'<section id="conclusions".*?</section>', text, re.DOTALL)
    return {
        re.search("<h2>(.*?)</h2>", part)[1]: (
            re.findall(r"<(?:p|li)>(.*?)(?: <a .*?)?</(?:p|li)>", part),
            re.findall(r'alt="(.*?)"', part),
        )
        for part in re.findall("<article.*?</article>", found, re.DOTALL)
    }


def first(run, folder):
    drawn = picture(folder, "first.png", title="One", caption="First picture.")
    return {
        "pictures": [drawn],
        "conclusions": [
            conclude("next", "Do this."),
            conclude("uncertainty", "It knows."),
            conclude("ensemble", "It is worth much.", drawn),
        ],
    }


def second(run, folder):
    drawn = picture(folder, "second.png", title="Two", caption="Second picture.")
    gone = {"file": "gone.png", "title": "Three", "caption": "Third picture."}
    return {
        "pictures": [drawn],
        "conclusions": [
            conclude("ensemble", "It is worth more.", drawn),
            conclude("uncertainty", f"It says {HOSTILE}.", gone),
            conclude("uncertainty", "It shows.", drawn),
        ],
    }


def test_the_first_screen_answers_each_question_in_order(run):
    _, text = make_plugin(run, first=first, second=second)
    found = screen(text)
    assert list(found) == [QUESTIONS[question] for question in ("quality", "uncertainty", "ensemble", "next")]
    accuracy, pictures = found[QUESTIONS["quality"]]
    assert len(accuracy) == 1
    assert accuracy[0].startswith("Accuracy: ")
    assert pictures == []
    sentences, pictures = found[QUESTIONS["uncertainty"]]
    assert (sentences[0], sentences[2], pictures) == ("It knows.", "It shows.", ["Second picture."])
    assert found[QUESTIONS["ensemble"]] == (["It is worth much.", "It is worth more."], ["First picture."])
    assert found[QUESTIONS["next"]] == (["Do this."], [])
    assert HOSTILE in " ".join(Parsed(text).words)
    assert text.index('id="conclusions"') < text.index("<nav") < text.index('id="analysis-first"')
    assert text.index('id="analysis-second"') < text.index('id="results"')
    assert 'Do this. <a href="#analysis-first">First</a>' in text


def test_what_is_no_conclusion_is_passed_over(run):
    kinds = [None, 7, {"question": "next"}, [7, {}], [{"question": [], "sentence": "a"}, {"question": "next"}]]
    odd = {f"odd_{number}": (lambda run, folder, of=one: {"conclusions": of}) for number, one in enumerate(kinds)}
    with pytest.warns(HyperframeWarning, match="no report shows its") as told:
        _, text = make_plugin(run, **odd)
    assert {str(one.message).split("'")[1] for one in told} == set(odd)
    assert list(screen(text)) == [QUESTIONS["quality"]]


def test_no_conclusion_is_told_twice(run):
    """Not among all results, which unfold; so are tables, which the page shows."""
    table = {"title": "Table", "caption": "It has a row.", "columns": ["a", "b"], "rows": [[1234.5, None], ["x", 3]]}
    results = {"conclusions": [conclude("next", "Do it.")], "tables": [table]}
    _, text = make_plugin(run, tabled=lambda run, folder: results)
    assert text.count("Do it.") == 1
    assert text.count("It has a row.") == 1
    assert "<td>1,234</td><td></td></tr><tr><td>x</td><td>3</td>" in text


def test_a_table_that_is_none_is_named(run):
    kinds = [{"columns": 3, "rows": []}, {"columns": ["a"]}, {"columns": ["a"], "rows": 7}]
    tables = [{"title": f"Table {number}", **odd} for number, odd in enumerate(kinds)]
    with pytest.warns(HyperframeWarning, match="no report shows its 'tables'"):
        _, text = make_plugin(run, untabled=lambda run, folder: {"tables": tables})
    words = " ".join(Parsed(text).words)
    assert all(f"Table {number}: it has no columns and rows" in words for number in range(len(kinds)))
