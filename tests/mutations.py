"""Ways to damage a file or folder: its bytes, values, keys, depth, size and encoding, and links in its place."""

import json
import os
import random
import re
import shutil

import yaml

VALUES = [
    *("null", "true", "false", "0", "-1", "1", "3", "0.5", "-0.0", "1e-320", "1e999", "-1e999", "NaN", "Infinity"),
    *("-Infinity", '""', '"text"', '"1"', '"a\\u0000b"', '"\\ud800"', '"\\u001b]0;title\\u0007\\u001b[31m"'),
    *('"\\u202e\\u2028\\u0085"', '"../../outside"', '"/dev/zero"', '"~"', '"${oc.env:HOME}"', '"a:b"', '"a.b:c"'),
    *("[]", "{}", "[[]]", "[null]", '{"": 0}', '["a", 1]', '{"name": "text"}', '[{"name": 1}]', '{"name": []}'),
    *("*a", "&a [*a]", "!!pairs [a: 1]", "!!python/name:os.system", "2024-05-01", "0x10", "1_000", "<<", "?", "- -"),
]
"""Values that a JSON or YAML file may hold where something else is expected: each type, and special cases of each."""

LEVELS = (9, 11, 48, 50, 52, 500, 700, 860, 980, 5000, 100_000)
DIGITS = (20, 290, 301, 310, 400, 4300, 5000, 100_000)
SPARSE = 1 << 40
"""Bytes of a file that takes no room on the disk."""

PLACEHOLDER = "\ue000"
PIECES = (
    *(b"[" * 5000, b"{" * 5000, b'"', b"\xff\xfe", b"NaN", b"1" * 5000, b"&a *a ", b"${oc.env:HOME}", b"\x00"),
    *(b"!!python/object:x ", b"- ", b"\x1b[31m", b"\xed\xa0\x80", b"\r\n", b"\n", b": ", b","),
)
"""Bytes that a parser may fail on."""


class Damages:
    """The ways to damage what a path names.

    Args:
        seed: of what is drawn.
        inside: the folder with all files to damage.
        outside: a copy of it, to which links point.
    """

    def __init__(self, seed, inside, outside):
        self.random = random.Random(seed)
        self.inside, self.outside = inside, outside

    def __call__(self, path):
        """Damage what lies at a path; return the sort of damage."""
        if path.is_dir():
            self.links(path)
            return "links"
        original = path.read_bytes()
        ways = [self.bytes, self.bytes, self.encoding, self.size]
        if path.suffix in (".json", ".jsonl", ".yaml", ".safetensors"):
            ways += [self.values, self.values, self.values, self.keys, self.depth]
        while True:  # a swap of equal bytes, or zeros over zeros, is no damage
            if self.random.random() < 0.1:
                self.links(path)
                return "links"
            way = self.random.choice(ways)
            damaged = way(original, path.suffix)
            if isinstance(damaged, int):
                os.truncate(path, damaged)
                return way.__name__
            if damaged != original:
                path.write_bytes(damaged)
                return way.__name__

    def bytes(self, content, suffix):
        ways = [self.flip, self.flip, self.cut, self.swap, self.repeat, self.zero, self.header, self.text]
        return bytes(self.random.choice(ways)(bytearray(content))) if content else b"\x00"

    def place(self, content):
        """Return a place in the content; the first bytes, which hold headers, are as likely as all others."""
        return self.random.randrange(min(len(content), self.random.choice([8, 300, len(content)])))

    def flip(self, content):
        for _ in range(self.random.choice([1, 1, 3, 30])):
            content[self.place(content)] ^= 1 << self.random.randrange(8)
        return content

    def cut(self, content):
        return content[: self.random.randrange(len(content))]

    def swap(self, content):
        a, b, size = self.place(content), self.place(content), self.random.randrange(1, 40)
        content[a : a + size], content[b : b + size] = content[b : b + size], content[a : a + size]
        return content

    def repeat(self, content):
        place = self.place(content)
        return content[:place] + content[place : place + 50] * self.random.choice([2, 100]) + content[place:]

    def zero(self, content):
        place = self.place(content)
        content[place : place + 20] = bytes(len(content[place : place + 20]))
        return content

    def header(self, content):
        """Replace the first number by a huge one, or digits in the text, so that sizes are huge."""
        if self.random.random() < 0.5:
            content[:8] = self.random.choice([2**63, 2**40, 10**8, 2**31, len(content)]).to_bytes(8, "little")
            return content
        digits = self.random.choice([b"9", b"0", b"-"])
        changed = (digits if 49 <= byte <= 57 and self.random.random() < 0.3 else bytes([byte]) for byte in content)
        return bytearray(b"".join(changed))

    def text(self, content):
        place = self.place(content)
        return content[:place] + self.random.choice(PIECES) + content[place + self.random.randrange(8) :]

    def encoding(self, content, suffix):
        """Return the same text as another program may have written it."""
        text = content.decode("utf-8", "replace")
        ways = [
            lambda: b"\xef\xbb\xbf" + content,
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-be"),
            lambda: text.encode("utf-32"),
            lambda: text.replace("a", "é", 3).encode("latin-1", "replace"),
            lambda: text.replace("e", "\u2028", 2).encode("utf-8"),
            lambda: content.replace(b"\n", b"\r\n"),
            lambda: content.replace(b"\n", b"\r"),
            lambda: content.replace(b"\n", b"\x85"),
            lambda: content.replace(b" ", b"\t"),
            lambda: content.replace(b" ", b"\xc2\xa0"),
            lambda: content + b"\x00" * 100,
        ]
        return self.random.choice(ways)()

    def size(self, content, suffix):
        """Return nothing, too much, or something long instead of a value; a number means that many bytes on disk."""
        number = "9" * self.random.choice(DIGITS)
        values = [number, f"-{number}", f"{number}.0", f'"{number}"', str(2**63), str(2**64), "1e400", "1000000000000"]
        values += ["[" + "0," * 100_000 + "0]", '"' + "x" * 2**20 + '"', '"' + "x" * 300 + '"']
        values += ["{" + ",".join(f'"a{i}": {i}' for i in range(5000)) + "}"]
        ways = [
            lambda: b"",
            lambda: SPARSE,
            lambda: content * self.random.choice([2, 100]),
            lambda: content + b" " * 2**21,
            lambda: content + b"\n" * 2**21,
            lambda: content + b"#" * 2**19,
        ]
        if self.random.random() < 0.7:
            return self.place_value(content, suffix, self.random.choice(values))
        return self.random.choice(ways)()

    def values(self, content, suffix):
        return self.place_value(content, suffix, self.random.choice(VALUES))

    def depth(self, content, suffix):
        levels = self.random.choice(LEVELS)
        pairs = [("[", "]"), ('{"a":', "}"), ("[", ""), ("[[],", "]"), ('[{"name":', "}]")]
        opening, closing = self.random.choice(pairs)
        return self.place_value(content, suffix, opening * levels + "1" + closing * levels)

    def keys(self, content, suffix):
        """Remove, repeat or rename a key."""

        def change(where, key):
            if not isinstance(where, dict):
                del where[key]
                return None
            value, way = where.pop(key), self.random.random()
            if way < 0.4:
                return None
            where[PLACEHOLDER] = value
            text = json.dumps(key)
            texts = [value for value in VALUES if value.startswith('"')]
            return self.random.choice(texts) if way < 0.7 else f"{text}: {self.random.choice(VALUES)}, {text}"

        return self.change(content, suffix, change)

    def place_value(self, content, suffix, value):
        """Put a text in place of one value of a file, or at the end of a file without values."""

        def change(where, key):
            where[key] = PLACEHOLDER
            return value

        return self.change(content, suffix, change)

    def change(self, content, suffix, change):
        """Change a value or key, drawn at random, of a file of JSON, YAML or tensors."""
        if suffix == ".jsonl":
            lines = content.splitlines(keepends=True)
            number = self.random.randrange(len(lines))
            lines[number] = self.change(lines[number], ".json", change).strip() + b"\n"
            return b"".join(lines)
        if suffix == ".safetensors":
            end = 8 + int.from_bytes(content[:8], "little")
            header = self.change(content[8:end], ".json", change)
            return len(header).to_bytes(8, "little") + header + content[end:]
        if suffix not in (".json", ".yaml"):
            return content + PIECES[0]
        root = [yaml.safe_load(content) if suffix == ".yaml" else json.loads(content)]
        where, key = self.random.choice(list(places(root)))
        text = change(where, key)
        written = json.dumps(root[0] if root else None, indent=2)
        return written.replace(json.dumps(PLACEHOLDER), text or "").encode("utf-8", "surrogatepass")

    def links(self, path):
        """Put something else in the path's place."""
        same = self.outside / path.relative_to(self.inside)
        others = [other for other in same.parent.iterdir() if other != same] or [same]
        file = path.is_file()
        if file:
            path.unlink()
        else:
            shutil.rmtree(path)
        ways = [
            lambda: path.symlink_to(same),
            lambda: path.symlink_to(same),
            lambda: path.symlink_to(os.path.relpath(same, path.parent)),
            lambda: path.symlink_to(self.random.choice(others)),
            lambda: path.symlink_to(path.name),
            lambda: path.symlink_to(self.outside / "absent"),
            lambda: path.symlink_to("/dev/zero"),
            lambda: path.symlink_to("/dev/full"),
            lambda: path.symlink_to(".."),
            lambda: os.mkfifo(path),
            path.mkdir,
            lambda: shutil.copytree(self.outside, path / "deeper"),
            lambda: path.write_bytes(b""),
            lambda: path.write_bytes(b"text"),
            lambda: None,
        ]
        if file:
            ways += [lambda: path.hardlink_to(same), lambda: shutil.copy(same, path) and path.chmod(0)]
        else:
            ways += [lambda: shutil.copytree(same, path, copy_function=link) and None] * 2
            ways += [lambda: shutil.copytree(same, path) and path.chmod(0)]
        self.random.choice(ways)()


def link(source, destination):
    """Make a link instead of a copy."""
    os.symlink(source, destination)


def places(value):
    """Yield the place of each value of nested plain data: a list or mapping, and the index or key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


def tells_of(message, path):
    """Whether a message names a file, a folder that holds it, or a key: something by which it is found."""
    names = [path.name, *(parent.name for parent in list(path.parents)[:3])]
    return any(name in message for name in names) or re.search(r"\b\w+(\.\w+)+\b", message)
