"""Reports of plugins whose analyses are functions, and what their pages hold: for several tests."""

import zlib
from html.parser import HTMLParser

from hyperframe.analysis.page import elements
from hyperframe.analysis.page.document import page
from hyperframe.analysis.report import collect
from hyperframe.api import make_registry
from hyperframe.component import Component
from hyperframe.hookspecs import hookimpl

HOSTILE = '</script><script>window.broken = 1</script><img src=x onerror="window.broken = 1">&\''


def picture(folder, file, **words):
    """The smallest picture: one red pixel."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]))
    body = header + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    (folder / file).write_bytes(elements.PNG + body)
    return {"file": file, **words}


class Shop:
    """A plugin whose analyses are counted."""

    __name__ = "shop"

    def __init__(self, **analyses):
        self.analyses, self.done = analyses, []

    def factory(self, name):
        def counted(run, folder):
            self.done.append(name)
            return self.analyses[name](run, folder)

        return lambda options: counted

    @hookimpl
    def hyperframe_analyses(self):
        return [
            Component(name=name, factory=self.factory(name), summary="what it is", reference="a book")
            for name in self.analyses
        ]


def make_plugin(run, **analyses):
    shop = Shop(**analyses)
    content = collect(run, make_registry([shop]), list(analyses))
    return content, page(content, run.folder / "analyses")


class Parsed(HTMLParser):
    """Checks that all tags are closed, and records sources, anchors and text."""

    EMPTY = ("meta", "link", "img", "br", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.places, self.links, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        assert not any(name.startswith("on") for name in found)
        self.sources += [found[name] for name in ("src", "srcset", "data") if name in found]
        self.links += [found["href"]] if "href" in found else []
        self.places += [found["id"]] if "id" in found else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)
