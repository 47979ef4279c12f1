"""The whole page of a report.

The same content gives the same bytes. All text that comes from a run or an analysis is escaped, and the page's content
security policy forbids it to load anything or to run any script but its own.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from hyperframe.analysis.page.comparison import HEADING, PLACE, comparison
from hyperframe.analysis.page.conclusions import conclusions
from hyperframe.analysis.page.elements import interactive, picture, table
from hyperframe.analysis.page.texts import anchor, details, entries, row, text, title_of
from hyperframe.analysis.rows.evaluation import evaluation_rows, evaluation_title
from hyperframe.runs.folder import EVALUATION
from hyperframe.runs.provenance import as_mapping, used_distributions

OF_REPORTS = ("conclusions", "highlights", "pictures", "tables", "interactive", "skipped")
OF_ORIGIN = ("run", "step", "analysis")


def page(content: Mapping[str, Any], analyses: Path) -> str:
    """Return the page of a report as HTML.

    Args:
        content: what `hyperframe.analysis.report.collect` returned.
        analyses: the folder that holds a folder for each analysis, with the files that its result names. Where a file
            is missing, or lies elsewhere, the page says so in its place.
    """
    script = _template("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = content["analyses"]
    sections = [_section(title_of(name, content), name, entry, analyses / name) for name, entry in found.items()]
    parts = {
        "title": escape(f"{content['run']}, step {content['step']}"),
        "run": escape(str(content["run"])),
        "style": _template("report.css"),
        "script": script,
        "digest": digest,
        "about": _about(content),
        "conclusions": conclusions(content, analyses),
        "origin": _origin(content),
        "comparison": comparison(content, analyses / EVALUATION),
        "navigation": _navigation(content),
        "results": _table(content),
        "sections": "\n".join(sections),
        "left_out": _reasons("left-out", "Left out", content, "left_out"),
        "failed": _reasons("failed", "Failed", content, "failed"),
        "configuration": details("The configuration", content["config"]),
        "provenance": details("Where the run comes from", content["provenance"]),
    }
    whole = Template(_template("report.html")).substitute(parts)
    return whole.encode(errors="replace").decode()  # names of files can hold bytes that are no text


def _template(name: str) -> str:
    return (resources.files("hyperframe.templates") / name).read_text(encoding="utf-8")


def _about(content: Mapping[str, Any]) -> str:
    """Say in one line which target was trained on which task, by which generator, and how far."""
    config = content["config"]
    target, task, generator = (config[key]["name"] for key in ("target", "task", "generator"))
    return text(f"{target} on {task} · {generator} · {_objective(content)} · step {_step(content)}")


def _objective(content: Mapping[str, Any]) -> str:
    """Return the objective's name and its first option, such as λ."""
    objective = content["config"]["objective"]
    name, *first = list(objective)[:2]
    return ", ".join([str(objective[name]), *(f"{key}\u00a0=\u00a0{_value(objective[key])}" for key in first)])


def _value(value: Any) -> str:
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def _step(content: Mapping[str, Any]) -> str:
    return f"{content['step']:,} of {content['config']['trainer']['steps']:,}"


def _origin(content: Mapping[str, Any]) -> str:
    """Return the list of what was trained, with which components and versions, and where."""
    config, provenance = content["config"], content["provenance"]
    versions, environment = as_mapping(provenance.get("versions")), as_mapping(provenance.get("environment"))
    rows = {
        "target": config["target"]["name"],
        "task": config["task"]["name"],
        "classes": ", ".join(f"{number}: {name}" for number, name in enumerate(content.get("classes", []))),
        "generator": config["generator"]["name"],
        "gauges": ", ".join(choice["name"] for choice in config["gauges"]) or "none",
        "diversity": ", ".join(choice["name"] for choice in config["diversity"]) or "none",
        "objective": _objective(content),
        "step": _step(content),
        "seed of the training": config["trainer"]["seed"],
        "seed of the evaluation": config["evaluation"]["seed"],
        "trained with": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "plugins": ", ".join(_third_parties(provenance)),
        "revision": provenance.get("revision") or "",
        "trained on": ", ".join(str(environment[key]) for key in ("hardware", "processor") if environment.get(key)),
    }
    cells = [f"<div><dt>{word}</dt><dd>{text(value)}</dd></div>" for word, value in rows.items() if value != ""]
    return "\n".join(cells)


def _third_parties(provenance: Mapping[str, Any]) -> list[str]:
    """Return names and versions of the distributions that the run's components come from, without hyperframe's own."""
    own = as_mapping(provenance.get("versions"))
    return sorted(f"{name} {version}" for name, version in used_distributions(provenance).items() if name not in own)


def _navigation(content: Mapping[str, Any]) -> str:
    places = {PLACE: HEADING} if content.get("comparison") else {}
    places |= {anchor(name): title_of(name, content) for name in content["analyses"]}
    places |= {"results": "All figures"}
    places |= {"left-out": "Left out"} if content["left_out"] else {}
    places |= {"failed": "Failed"} if content["failed"] else {}
    places |= {"run": "The run"}
    return "\n".join(f'<a href="#{place}">{escape(words)}</a>' for place, words in places.items())


def _table(content: Mapping[str, Any]) -> str:
    """Return the rows of the table of all figures: the evaluation's metrics, then the highlights of each analysis."""
    evaluation = content["evaluation"]
    groups: list[tuple[str, list[tuple[str, Any]]]] = []
    groups.append((escape(evaluation_title(evaluation)), list(evaluation_rows(evaluation))))
    for name, entry in content["analyses"].items():
        link = f'<a href="#{anchor(name)}">{escape(title_of(name, content))}</a>'
        groups.append((link, list(as_mapping(entry["result"].get("highlights")).items())))
    return "\n".join(_group(heading, rows) for heading, rows in groups if rows)


def _group(heading: str, rows: Sequence[tuple[str, Any]]) -> str:
    return (
        f'<tbody><tr><th colspan="2" scope="rowgroup">{heading}</th></tr>'
        f"{''.join(row(words, value) for words, value in rows)}</tbody>"
    )


def _section(title: str, name: str, entry: Mapping[str, Any], folder: Path) -> str:
    """Return the section of one analysis: its summary, highlights, pictures, interactive elements and all results."""
    result = entry["result"]
    summary, reference = entry["summary"], entry["reference"]
    parts = [f'<section id="{anchor(name)}">', f"<h2>{escape(title)}</h2>"]
    if summary:
        parts.append(f'<p class="summary">{text(summary[:1].upper() + summary[1:])}.</p>')
    if reference:
        parts.append(f'<p class="reference">Reference: {text(reference)}</p>')
    highlights = as_mapping(result.get("highlights"))
    if highlights:
        rows = "".join(row(words, value) for words, value in highlights.items())
        parts.append(f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>')
    pictures = [picture(one, folder) for one in entries(result.get("pictures"))]
    parts += [f'<div class="pictures">{"".join(pictures)}</div>'] if pictures else []
    parts += [table(one) for one in entries(result.get("tables"))]
    parts += [interactive(one, folder) for one in entries(result.get("interactive"))]
    parts += [
        f'<p class="missing">Left out: {text(what)}: {text(why)}</p>'
        for what, why in as_mapping(result.get("skipped")).items()
    ]
    parts.append(details("How it was made", {key: result[key] for key in OF_ORIGIN if key in result}))
    plain = {key: value for key, value in result.items() if key not in (*OF_REPORTS, *OF_ORIGIN)}
    parts.append(details("All results", plain) if plain else "")
    parts.append('<p class="up"><a href="#top">↑ top</a></p></section>')
    return "\n".join(part for part in parts if part)


def _reasons(place: str, heading: str, content: Mapping[str, Any], key: str) -> str:
    if not content[key]:
        return ""
    rows = "".join(row(title_of(name, content), reason) for name, reason in content[key].items())
    return (
        f'<section id="{place}"><h2>{heading}</h2><div class="scroll"><table class="reasons"><tbody>{rows}</tbody>'
        "</table></div></section>"
    )
