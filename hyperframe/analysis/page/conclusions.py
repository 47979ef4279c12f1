"""The first screen of a report: what the evaluation and the analyses conclude, question by question."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from hyperframe.analysis.conclusions import QUESTIONS, evaluation_sentence
from hyperframe.analysis.page.elements import image
from hyperframe.analysis.page.texts import anchor, entries, text, title_of, unbroken
from hyperframe.errors import HyperframeError

ADVICE = "next"
"""The question whose answers are a list below all others."""


@attrs.frozen(kw_only=True)
class _Answer:
    """One answer to a question: a sentence, where its section is, and a picture or none."""

    sentence: str
    analysis: str = ""
    heading: str = ""
    picture: str = ""

    def html(self, tag: str) -> str:
        """Return the sentence, with a link to the section of the analysis that concludes it."""
        link = f' <a href="#{anchor(self.analysis)}">{text(self.heading)}</a>' if self.analysis else ""
        return f"<{tag}>{unbroken(self.sentence)}{link}</{tag}>"


def conclusions(content: Mapping[str, Any], analyses: Path) -> str:
    """Return the first screen of a report: each question with its answers and the first of their pictures.

    A question that nothing answers is left out; so is a picture that is missing, which its section names.

    Args:
        content: what `hyperframe.analysis.report.collect` returned.
        analyses: the folder that holds a folder for each analysis.
    """
    answers: dict[str, list[_Answer]] = {question: [] for question in QUESTIONS}
    sentence = evaluation_sentence(content["evaluation"])
    if sentence:
        answers["quality"].append(_Answer(sentence=sentence))
    for question, answer in _answers(content, analyses):
        answers[question].append(answer)
    advice = answers.pop(ADVICE)
    parts = [_card(QUESTIONS[question], own) for question, own in answers.items() if own]
    if advice:
        items = "".join(one.html("li") for one in advice)
        parts.append(f'<article class="advice"><h2>{QUESTIONS[ADVICE]}</h2><ul>{items}</ul></article>')
    return f'<section id="conclusions" aria-label="Conclusions">{"".join(parts)}</section>' if parts else ""


def _answers(content: Mapping[str, Any], analyses: Path) -> Iterator[tuple[str, _Answer]]:
    """Yield all answers of the analyses with their questions; what is none is passed over."""
    for name, entry in content["analyses"].items():
        for one in entries(entry["result"].get("conclusions")):
            question, sentence = one.get("question"), one.get("sentence")
            if isinstance(question, str) and question in QUESTIONS and isinstance(sentence, str):
                picture = _picture(one.get("picture"), analyses / name)
                yield (
                    question,
                    _Answer(sentence=sentence, analysis=name, heading=title_of(name, content), picture=picture),
                )


def _picture(entry: Any, folder: Path) -> str:
    if not isinstance(entry, Mapping):
        return ""
    try:
        return image(entry, folder)
    except (HyperframeError, OSError):  # its section says why
        return ""


def _card(question: str, answers: list[_Answer]) -> str:
    """Return a question with its first answer, the first picture, and the other answers below it."""
    first = next((one for one in answers if one.picture), None)
    shown = "" if first is None else f'<div class="card">{first.picture}</div>'
    others = "".join(one.html("p") for one in answers[1:])
    rest = f"<div>{others}</div>" if others else ""
    return f"<article><h2>{question}</h2>{answers[0].html('p')}{shown}{rest}</article>"
