"""What is wrong or odd about labelled texts: encodings, empty and endless ones, copies, words that tell the class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from corecur.data.quality.idioms import by_chance
from corecur.data.quality.label_counts import label_count_findings
from corecur.data.quality.odd_values import far_out
from corecur.data.quality.repeats import Listed, lines, repeat_findings, same_keys
from corecur.data.quality.text_marks import garbled, near_texts, plain, words_of
from corecur.data.text.text_parts import TextPart
from corecur.finding import Finding

_MANY = 0.01
_SHORT = 5  # words: such texts repeat by chance
_MOST_BYTES = 50_000_000
# A word gives a class away where nearly all texts of it have it and no others do, and it is one of few such words.
_COVERS, _SURE, _CLASS_OF, _FEW_WORDS = 0.95, 0.99, 20, 3


def text_findings(parts: Mapping[str, TextPart]) -> tuple[list[Finding], int]:
    """Findings on the texts of the splits, and how many were looked at.

    >>> part = TextPart(["", "a fine film", "how dull", "a fine film!"], ["+", "+", "-", "-"], [*"abcd"])
    >>> [found.kind for found in text_findings({"train": part})[0]]
    ['empty', 'too-few', 'few', 'disputed']
    """
    texts, names, splits, labels = _joined(parts)
    labelled = any(part.labels is not None for part in parts.values())
    findings = [*_empty(texts, names), *(_unlabelled(texts, labels, names) if labelled else [])]
    kept = [row for row, text in enumerate(texts)
            if text and not text.isspace() and (labels[row].strip() or not labelled)]  # fmt: skip
    findings += [*_garbled(texts, names), *_long(texts, names)]
    plains = [plain(texts[row]) for row in kept]
    words = [words_of(text) for text in plains]
    short = frozenset(place for place, one in enumerate(words) if len(one) < _SHORT)
    listed = Listed([names[row] for row in kept], [splits[row] for row in kept],
                    [labels[row].strip() for row in kept] if labelled else None, "text", short=short,
                    equal="but for case and punctuation the same as")  # fmt: skip
    findings += label_count_findings(listed)
    equal = same_keys([text or None for text in plains])
    again = {later for _, later in equal}
    first = [place for place in range(len(plains)) if place not in again]
    near = [(first[a], first[b]) for a, b in near_texts([plains[place] for place in first])]
    chance = by_chance(words, [*equal, *near]) | listed.short_pairs(equal)
    findings += repeat_findings(listed, equal, near=False, many=_MANY, chance=chance)
    findings += repeat_findings(listed, [pair for pair in near if pair not in chance], near=True, many=_MANY)
    if listed.labels is not None:
        findings += _telling_words([plains[place] for place in first], [listed.labels[place] for place in first])
    return findings, len(texts)


def _joined(parts: Mapping[str, TextPart]) -> tuple[list[str], list[str], list[str], list[str]]:
    texts, names, splits, labels = [], [], [], []
    for split, part in parts.items():
        texts += part.texts
        names += part.names
        splits += [split] * len(part)
        labels += part.labels or [""] * len(part)
    return texts, names, splits, labels


def _counted(count: int, verb: tuple[str, str], rest: str) -> str:
    return f"{count:,} {'text' if count == 1 else 'texts'} {verb[count != 1]} {rest}"


def _empty(texts: Sequence[str], names: Sequence[str]) -> list[Finding]:
    empty = [name for text, name in zip(texts, names, strict=True) if not text or text.isspace()]
    if not empty:
        return []
    verdict = _counted(len(empty), ("is", "are"), "empty; a training leaves such texts out.")
    return [Finding("empty", verdict, lines(empty), "fill them in, or remove them")]


def _unlabelled(texts: Sequence[str], labels: Sequence[str], names: Sequence[str]) -> list[Finding]:
    bare = [name for text, label, name in zip(texts, labels, names, strict=True) if text.strip() and not label.strip()]
    if not bare:
        return []
    verdict = _counted(len(bare), ("has", "have"), "no label.")
    return [Finding("no-label", verdict, lines(bare), "label or remove them, or train with --skip-bad", "problem")]


def _garbled(texts: Sequence[str], names: Sequence[str]) -> list[Finding]:
    found = [(name, piece) for text, name in zip(texts, names, strict=True) if (piece := garbled(text)) is not None]
    if not found:
        return []
    verdict = _counted(len(found), ("holds", "hold"), "characters that were decoded wrongly on the way here.")
    evidence = lines(f"{name}: {piece[:20]!r}" for name, piece in found)
    return [Finding("garbled", verdict, evidence, "read the original again in the encoding it was written in")]


def _long(texts: Sequence[str], names: Sequence[str]) -> list[Finding]:
    lengths = np.array([len(text.strip()) for text in texts], dtype=np.float64)
    logs = np.log(np.where(lengths > 0, lengths, np.nan))
    middle = float(np.nanmedian(logs)) if np.isfinite(logs).any() else 0.0
    odd = [row for row in far_out(logs, least=np.log(8.0), spreads=6.0).tolist() if logs[row] > middle]
    if not odd:
        return []
    usual = f"{np.exp(middle):,.0f}"
    verdict = _counted(len(odd), ("is", "are"), f"far longer than all others (usual: {usual} characters).")
    evidence = lines(f"{names[row]}: {lengths[row]:,.0f} characters" for row in odd)
    return [Finding("long", verdict, evidence, "look at them: are these several texts, or a file of another kind?")]


def _telling_words(plains: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    sizes = Counter(labels)
    spread: Counter[str] = Counter()
    inside: dict[str, Counter[str]] = {label: Counter() for label in sizes}
    for text, label in zip(plains, labels, strict=True):
        words = set(words_of(text))
        spread.update(words)
        inside[label].update(words)
    evidence = []
    for label, size in sizes.items():
        if size < _CLASS_OF or len(sizes) < 2:
            continue
        telling = [word for word, count in inside[label].items()
                   if count >= _COVERS * size and count >= _SURE * spread[word]]  # fmt: skip
        if len(telling) <= _FEW_WORDS:
            evidence += [f"{word!r} is in {inside[label][word]:,} of {size:,} texts of {label!r}, and in "
                         f"{spread[word] - inside[label][word]:,} others" for word in sorted(telling)]  # fmt: skip
    if not evidence:
        return []
    verdict = "A word gives a class away: a network may learn that instead of what the texts say."
    return [Finding("leak-word", verdict, lines(evidence), "remove the word from the texts, if real ones lack it")]


def encoding_findings(files: Iterable[Path]) -> list[Finding]:
    """Files that are not in one encoding throughout, or not in that of the others.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.txt"); _ = file.write_bytes("1 café\\n".encode() + "0 déjà\\n".encode("latin-1"))
    ...     print(*encoding_findings([file]))
    1 file is written in two encodings: some lines are UTF-8, others are not. (a.txt: line 2 is not UTF-8) Remedy: \
save all of it as UTF-8.
    """
    mixed, foreign, usual = [], [], 0
    for file in files:
        if file.stat().st_size > _MOST_BYTES:
            continue
        data = file.read_bytes()
        if data.isascii() or data.startswith((b"\xff\xfe", b"\xfe\xff")):
            continue
        beyond = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if not line.isascii()]
        odd = [number for number, line in beyond if not _decodes(line)]
        if odd and len(odd) < len(beyond):
            mixed.append(f"{file.name}: line{'s' * (len(odd) > 1)} {', '.join(map(str, odd[:10]))}"
                         f"{' …' if len(odd) > 10 else ''} {'is' if len(odd) == 1 else 'are'} not UTF-8")  # fmt: skip
        elif odd:
            foreign.append(file.name)
        else:
            usual += 1
    findings = []
    if mixed:
        verdict = f"{len(mixed):,} {'file is' if len(mixed) == 1 else 'files are'} written in two encodings: some "
        findings.append(Finding("mixed-encodings", f"{verdict}lines are UTF-8, others are not.", lines(mixed),
                                "save all of it as UTF-8"))  # fmt: skip
    if foreign and usual:
        verdict = f"{len(foreign):,} files are not UTF-8, as others here are ({usual:,})."
        findings.append(Finding("mixed-encodings", verdict, lines(foreign), "save all files as UTF-8"))
    return findings


def _decodes(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
