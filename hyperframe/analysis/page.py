"""The page of a report: one HTML file that loads nothing from the network and needs no other file.

The same content gives the same bytes. All text that comes from a run or an analysis is escaped, and the page's content
security policy forbids it to load anything or to run any script but its own.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from hyperframe.analysis.evaluation_rows import evaluation_rows, evaluation_title
from hyperframe.errors import HyperframeError, RunError, brief
from hyperframe.runs.provenance import as_mapping, used_distributions
from hyperframe.runtime.files import as_json, from_json, is_file, read_text

LARGEST_ELEMENT = 1 << 24
"""The most bytes that a picture, or the data of an interactive element, may have."""

PNG = b"\x89PNG\r\n\x1a\n"

OF_REPORTS = ("highlights", "pictures", "interactive", "skipped")
OF_ORIGIN = ("run", "step", "analysis")

WIDEST = 110
"""The most characters of a list or mapping that is written on one line."""


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
    sections = [_section(_title(name, content), name, entry, analyses / name) for name, entry in found.items()]
    parts = {
        "title": escape(f"{content['run']}, step {content['step']}"),
        "run": escape(str(content["run"])),
        "style": _template("report.css"),
        "script": script,
        "digest": digest,
        "about": _about(content),
        "origin": _origin(content),
        "navigation": _navigation(content),
        "results": _table(content),
        "sections": "\n".join(sections),
        "left_out": _reasons("left-out", "Left out", content, "left_out"),
        "failed": _reasons("failed", "Failed", content, "failed"),
        "configuration": _details("The configuration", content["config"]),
        "provenance": _details("Where the run comes from", content["provenance"]),
    }
    whole = Template(_template("report.html")).substitute(parts)
    return whole.encode(errors="replace").decode()  # names of files can hold bytes that are no text


def _template(name: str) -> str:
    return (resources.files("hyperframe.templates") / name).read_text(encoding="utf-8")


def _about(content: Mapping[str, Any]) -> str:
    """Say in one line which target was trained on which task, by which generator, and how far."""
    config = content["config"]
    target, task, generator = (config[key]["name"] for key in ("target", "task", "generator"))
    return _text(f"{target} on {task} · {generator} · {_objective(content)} · step {_step(content)}")


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
    cells = [f"<div><dt>{word}</dt><dd>{_text(value)}</dd></div>" for word, value in rows.items() if value != ""]
    return "\n".join(cells)


def _third_parties(provenance: Mapping[str, Any]) -> list[str]:
    """Return names and versions of the distributions that the run's components come from, without hyperframe's own."""
    own = as_mapping(provenance.get("versions"))
    return sorted(f"{name} {version}" for name, version in used_distributions(provenance).items() if name not in own)


def _navigation(content: Mapping[str, Any]) -> str:
    places = {"results": "Results", **{_anchor(name): _title(name, content) for name in content["analyses"]}}
    places |= {"left-out": "Left out"} if content["left_out"] else {}
    places |= {"failed": "Failed"} if content["failed"] else {}
    places |= {"run": "The run"}
    return "\n".join(f'<a href="#{place}">{escape(words)}</a>' for place, words in places.items())


def _table(content: Mapping[str, Any]) -> str:
    """Return the rows of the first table: the evaluation's metrics, then each analysis' highlights with a link."""
    evaluation = content["evaluation"]
    groups: list[tuple[str, list[tuple[str, Any]]]] = []
    groups.append((escape(evaluation_title(evaluation)), list(evaluation_rows(evaluation))))
    for name, entry in content["analyses"].items():
        link = f'<a href="#{_anchor(name)}">{escape(_title(name, content))}</a>'
        groups.append((link, list(as_mapping(entry["result"].get("highlights")).items())))
    return "\n".join(_group(heading, rows) for heading, rows in groups if rows)


def _group(heading: str, rows: Sequence[tuple[str, Any]]) -> str:
    return (
        f'<tbody><tr><th colspan="2" scope="rowgroup">{heading}</th></tr>'
        f"{''.join(_row(words, text) for words, text in rows)}</tbody>"
    )


def _row(words: str, text: Any) -> str:
    unbroken = _text(text).replace(" %", "\u00a0%")
    return f'<tr><th scope="row">{_text(words)}</th><td>{unbroken}</td></tr>'


def _section(title: str, name: str, entry: Mapping[str, Any], folder: Path) -> str:
    """Return the section of one analysis: its summary, highlights, pictures, interactive elements and all results."""
    result = entry["result"]
    summary, reference = entry["summary"], entry["reference"]
    parts = [f'<section id="{_anchor(name)}">', f"<h2>{escape(title)}</h2>"]
    if summary:
        parts.append(f'<p class="summary">{_text(summary[:1].upper() + summary[1:])}.</p>')
    if reference:
        parts.append(f'<p class="reference">Reference: {_text(reference)}</p>')
    highlights = as_mapping(result.get("highlights"))
    if highlights:
        rows = "".join(_row(words, text) for words, text in highlights.items())
        parts.append(f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>')
    parts += [_picture(picture, folder) for picture in _entries(result.get("pictures"))]
    parts += [_interactive(element, folder) for element in _entries(result.get("interactive"))]
    parts += [
        f'<p class="missing">Left out: {_text(what)}: {_text(why)}</p>'
        for what, why in as_mapping(result.get("skipped")).items()
    ]
    parts.append(_details("How it was made", {key: result[key] for key in OF_ORIGIN if key in result}))
    plain = {key: value for key, value in result.items() if key not in (*OF_REPORTS, *OF_ORIGIN)}
    parts.append(_details("All results", plain) if plain else "")
    parts.append('<p class="up"><a href="#top">↑ top</a></p></section>')
    return "\n".join(part for part in parts if part)


def _picture(picture: Mapping[str, Any], folder: Path) -> str:
    """Return a picture with its title and caption; the page's script shows it in full size at a click."""
    title, caption = _text(picture.get("title", "")), _text(picture.get("caption", ""))
    try:
        data = _inside(folder, picture.get("file")).read_bytes()
        if not data.startswith(PNG):
            raise RunError(f"{picture.get('file')} is no PNG picture")
    except (HyperframeError, OSError) as error:
        return _missing(title, error)
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure class="picture"><h3>{title}</h3><div class="card scroll"><img src="{source}" alt="{caption}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _interactive(element: Mapping[str, Any], folder: Path) -> str:
    """Return an interactive element: its data, which the page's script draws."""
    title, caption = _text(element.get("title", "")), _text(element.get("caption", ""))
    try:
        points = from_json(read_text(_inside(folder, element.get("file")), LARGEST_ELEMENT))
    except (HyperframeError, ValueError) as error:
        return _missing(title, error)
    # An end tag or a comment, which would end the script's text, begins with "<".
    data = as_json(points).replace("<", "\\u003c")
    return (
        f'<figure class="interactive" data-kind="{_text(element.get("kind", ""))}"><h3>{title}</h3>'
        f'<div class="stage" aria-label="{caption}"><noscript>This element needs JavaScript.</noscript></div>'
        f"<figcaption>{caption}</figcaption>"
        f'<script type="application/json">{data}</script></figure>'
    )


def _missing(title: str, error: Exception) -> str:
    return f'<p class="missing">{title}: {_text(brief(error))}</p>'


def _inside(folder: Path, file: Any) -> Path:
    """Return the path of a file in an analysis' folder.

    Raises:
        RunError: it lies elsewhere, there is none, or it is too large.
    """
    try:
        path = (folder / str(file)).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(f"'{file}' is no name of a file") from error
    if not path.is_relative_to(folder.resolve()):
        raise RunError(f"'{file}' is not in the analysis' folder, and is not shown")
    if not is_file(path):
        raise RunError(f"'{file}' is missing")
    size = path.stat().st_size
    if size > LARGEST_ELEMENT:
        raise RunError(f"'{file}' has {size:,} bytes; at most {LARGEST_ELEMENT:,} are shown")
    return path


def _reasons(place: str, heading: str, content: Mapping[str, Any], key: str) -> str:
    if not content[key]:
        return ""
    rows = "".join(_row(_title(name, content), reason) for name, reason in content[key].items())
    return (
        f'<section id="{place}"><h2>{heading}</h2><div class="scroll"><table class="reasons"><tbody>{rows}</tbody>'
        "</table></div></section>"
    )


def _details(summary: str, content: Mapping[str, Any]) -> str:
    return f"<details><summary>{summary}</summary><pre>{escape(_plain(content))}</pre></details>"


def _plain(value: Any, indent: str = "") -> str:
    """Return JSON with lists of plain values, and all that fits, on one line each."""
    line = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(item, list | Mapping) for item in value)
    )
    if not nested or len(line) + len(indent) <= WIDEST:
        return line
    deeper = indent + "  "
    if isinstance(value, Mapping):
        rows = [f"{json.dumps(key, ensure_ascii=False)}: {_plain(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _plain(item, deeper) for item in value) + f"\n{indent}]"


def _anchor(name: str) -> str:
    """Return the anchor of an analysis' section; two different names never give the same one."""
    return "analysis-" + re.sub(r"[^A-Za-z0-9_-]", lambda found: f".{ord(found[0]):x}.", name)


def _title(name: str, content: Mapping[str, Any]) -> str:
    """Return an analysis' heading, or its name where it is not installed."""
    return str(content["headings"].get(name, name))


def _text(value: Any) -> str:
    return escape(str(value))


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    """Return the mappings of a list; anything else is left out, since the page cannot show it."""
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else iter(())
