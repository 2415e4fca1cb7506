"""What is wrong or odd about sentences with a tag for every word: tags that break their scheme, slips, copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from corecur.data.quality.idioms import by_chance
from corecur.data.quality.odd_values import far_out
from corecur.data.quality.repeats import Listed, lines, repeat_findings, same_keys
from corecur.data.quality.text_marks import garbled
from corecur.data.text.tagged_sets import TaggedSet
from corecur.errors import nearest
from corecur.finding import Finding

_MANY = 0.01
_SHORT = 6
# Entities that begin with I-: above this share they are of the older scheme IOB1, below it mistakes.
_OLD_SCHEME = 0.2
# A tag this rare, spelled nearly as a frequent one, is a slip of the pen.
_RARE, _FREQUENT = 0.001, 50


def tag_findings(sets: Mapping[str, TaggedSet], bad: Sequence[str] = ()) -> tuple[list[Finding], int]:
    """Findings on tagged sentences, and how many were looked at; ``bad`` are the places that could not be read.

    >>> tagged = TaggedSet((("to", "New", "York"),), (("O", "B-LOC", "I-PER"),), ("a:1",))
    >>> print(*tag_findings({"train": tagged})[0])
    1 tag goes on with an entity that did not begin. (a:1: I-PER after B-LOC, at 'York') Remedy: begin entities with B-.
    """
    findings = []
    if bad:
        verdict = f"{len(bad):,} {'sentence' if len(bad) == 1 else 'sentences'} cannot be read."
        findings.append(Finding("unreadable", verdict, lines(bad), "mend them, or train with --skip-bad", "problem"))
    names, splits, sentences, tags = _joined(sets)
    if not sentences:
        return findings, len(bad)
    findings += [*_broken_scheme(names, tags, sentences), *_rare_tags(names, tags), *_unknown_tags(sets)]
    findings += [*_untagged(names, tags), *_odd_sentences(names, sentences)]
    listed = Listed(names, splits, [" ".join(one) for one in tags], "sentence",
                    short=frozenset(k for k, one in enumerate(sentences) if len(one) < _SHORT))  # fmt: skip
    equal = same_keys(sentences)
    findings += _repeats(listed, equal, tags, by_chance(sentences, equal) | listed.short_pairs(equal))
    return findings, len(sentences) + len(bad)


def _joined(
    sets: Mapping[str, TaggedSet],
) -> tuple[list[str], list[str], list[tuple[str, ...]], list[tuple[str, ...]]]:
    names: list[str] = []
    splits: list[str] = []
    sentences: list[tuple[str, ...]] = []
    tags: list[tuple[str, ...]] = []
    for split, found in sets.items():
        names += found.names
        splits += [split] * len(found)
        sentences += found.sentences
        tags += found.tags or ()
    return names, splits, sentences, tags


def _is_bio(tags: Sequence[Sequence[str]]) -> bool:
    distinct = {tag for one in tags for tag in one}
    return any(tag[:2] in ("B-", "I-") for tag in distinct) and all(
        tag == "O" or tag[:2] in ("B-", "I-", "E-", "S-", "L-", "U-") for tag in distinct
    )


def _begun_inside(tags: Sequence[str]) -> Iterator[int]:
    """The places of I- tags (and E-, L-) with nothing of their kind before them."""
    before = "O"
    for place, tag in enumerate(tags):
        if tag[:2] in ("I-", "E-", "L-") and (before[:2] not in ("B-", "I-") or before[2:] != tag[2:]):
            yield place
        before = tag


def _broken_scheme(
    names: Sequence[str], tags: Sequence[Sequence[str]], sentences: Sequence[Sequence[str]]
) -> list[Finding]:
    if not _is_bio(tags):
        return []
    found = [(row, place) for row, one in enumerate(tags) for place in _begun_inside(one)]
    begun = sum(tag[:2] in ("B-", "S-", "U-") for one in tags for tag in one)
    if not found or len(found) > _OLD_SCHEME * (begun + len(found)) and len(found) > 5:
        return []
    verdict = f"{len(found):,} {'tag goes' if len(found) == 1 else 'tags go'} on with an entity that did not begin."
    evidence = lines(
        f"{names[row]}: {tags[row][place]} after {tags[row][place - 1] if place else 'the start'}, "
        f"at {sentences[row][place]!r}" for row, place in found
    )  # fmt: skip
    return [Finding("broken-tags", verdict, evidence, "begin entities with B-")]


def _rare_tags(names: Sequence[str], tags: Sequence[Sequence[str]]) -> list[Finding]:
    counts = Counter(tag for one in tags for tag in one)
    total = counts.total()
    usual = [tag for tag, count in counts.items() if count >= max(_FREQUENT / 10, _RARE * total)]
    evidence = []
    for tag, count in counts.items():
        if count > max(3, _RARE * total / 2) or tag in usual:
            continue
        meant = _meant(tag, usual)
        if meant is not None and counts[meant] >= 10 * count:
            places = [names[row] for row, one in enumerate(tags) if tag in one]
            evidence.append(f"{tag!r} ({count:,}) for {meant!r} ({counts[meant]:,})? {', '.join(places[:5])}")
    if not evidence:
        return []
    verdict = f"{len(evidence):,} rare {'tag is' if len(evidence) == 1 else 'tags are'} spelled nearly as another."
    return [Finding("rare-tags", verdict, lines(evidence), "correct them, if they are slips of the pen")]


def _meant(tag: str, usual: Sequence[str]) -> str | None:
    """The frequent tag that a rare one may be a misspelling of: another case, or a letter or two of difference."""
    prefix, kind = (tag[:2], tag[2:]) if tag[1:2] == "-" else ("", tag)
    for known in usual:
        if known != tag and known.casefold() == tag.casefold():
            return known
    rivals = [known for known in usual if known != tag and known.startswith(prefix) and known[len(prefix) :] != kind]
    kinds = {known[len(prefix) :]: known for known in rivals if known != "O"}
    guess = nearest(kind, kinds) if len(kind) >= 3 else None
    if guess is None:
        return None
    same = sorted(guess) == sorted(kind) or abs(len(guess) - len(kind)) == 1 and len(kind) >= 4
    return kinds[guess] if same else None


def _unknown_tags(sets: Mapping[str, TaggedSet]) -> list[Finding]:
    known = {tag for one in (sets["train"].tags or () if "train" in sets else ()) for tag in one}
    findings = []
    for split, found in sets.items():
        strange = [f"{name}: {tag}" for name, one in zip(found.names, found.tags or (), strict=True)
                   for tag in dict.fromkeys(one) if tag not in known]  # fmt: skip
        if strange and split != "train" and known:
            verdict = f"The {split} split has tags that the training data have not, in {len(strange):,} sentences."
            remedy = "correct them, add such sentences to the training data, or train with --skip-bad"
            findings.append(Finding("unknown-class", verdict, lines(strange), remedy, "problem"))
        missing = sorted(known - {tag for one in found.tags or () for tag in one})
        if missing and split != "train":
            verdict = (
                f"The {split} split has no word tagged {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}."
            )
            findings.append(Finding("missing-class", verdict, level="note"))
    return findings


def _untagged(names: Sequence[str], tags: Sequence[Sequence[str]]) -> list[Finding]:
    """Empty tags, and a file in which nothing at all is tagged."""
    empty = [f"{name}: word {place + 1}" for name, one in zip(names, tags, strict=True)
             for place, tag in enumerate(one) if not tag.strip() or tag == "_"]  # fmt: skip
    if not empty:
        return []
    verdict = f"{len(empty):,} {'word has' if len(empty) == 1 else 'words have'} no tag."
    return [Finding("no-label", verdict, lines(empty), "tag them, or leave the sentences out")]


def _odd_sentences(names: Sequence[str], sentences: Sequence[Sequence[str]]) -> list[Finding]:
    findings = []
    lengths = np.array([len(one) for one in sentences], dtype=np.float64)
    long = [int(row) for row in far_out(np.log(lengths), least=np.log(6.0), spreads=4.0)
            if lengths[row] > np.median(lengths)]  # fmt: skip
    if long:
        verdict = f"{len(long):,} {'sentence is' if len(long) == 1 else 'sentences are'} far longer than all others "
        evidence = lines(f"{names[row]}: {lengths[row]:,.0f} words" for row in long)
        findings.append(Finding("long", f"{verdict}(usual: {np.median(lengths):,.0f} words).", evidence,
                                "is the blank line between sentences missing?"))  # fmt: skip
    wrong = [(name, piece) for name, one in zip(names, sentences, strict=True)
             if (piece := garbled(" ".join(one))) is not None]  # fmt: skip
    if wrong:
        verdict = f"{len(wrong):,} {'sentence holds' if len(wrong) == 1 else 'sentences hold'} characters that were "
        findings.append(Finding("garbled", f"{verdict}decoded wrongly on the way here.",
                                lines(f"{name}: {piece[:20]!r}" for name, piece in wrong),
                                "read the original again in the encoding it was written in"))  # fmt: skip
    return findings


def _repeats(
    listed: Listed,
    equal: Sequence[tuple[int, int]],
    tags: Sequence[Sequence[str]],
    chance: frozenset[tuple[int, int]],
) -> list[Finding]:
    """Copies; where the tags of two differ, the words on which they do."""
    findings = repeat_findings(listed, equal, near=False, many=_MANY, chance=chance)
    found = []
    for one in findings:
        if one.kind != "disputed":
            found.append(one)
            continue
        differing = [(a, b) for a, b in equal if tags[a] != tags[b]]
        evidence = []
        for a, b in differing:
            place = next(k for k, pair in enumerate(zip(tags[a], tags[b], strict=True)) if pair[0] != pair[1])
            evidence.append(f"{listed.names[b]} = {listed.names[a]}: word {place + 1} is {tags[b][place]} and "
                            f"{tags[a][place]}")  # fmt: skip
        verdict = f"{listed.many(len(differing))} {'stands' if len(differing) == 1 else 'stand'} twice with other tags."
        short = all(a in listed.short for a, _ in differing)
        found.append(Finding("disputed", verdict, lines(evidence), "decide which tags are right",
                             "note" if short else "warning"))  # fmt: skip
    return found
