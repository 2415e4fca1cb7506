"""From a folder of photographs, one folder per class inside, to a tested model file.

python examples/photographs.py photos/ --epochs 10 --model my-model
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from corecur import ImageClassifier


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, test, save, load, predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, help="default: what the recipe chooses for so many pictures")
    parser.add_argument("--size", type=int, help="side to which pictures are scaled")
    parser.add_argument("--model", type=Path, default=Path("photographs-model"), help="where the model file goes")
    asked = parser.parse_args(arguments)

    settings = {"epochs": asked.epochs, "size": asked.size}
    settings = {name: value for name, value in settings.items() if value is not None}
    learner = ImageClassifier(seed=0, **settings)
    data = learner.read(asked.folder)
    for finding in data.findings:
        print(f"! {finding}")
    recipe = learner.choose(data)
    print(f"{len(data.train):,} pictures to train on; up to {recipe.epochs} epochs of network {recipe.model}")

    result = learner.fit(data, verbose=True)
    print(result.test.sentence())
    for row in result.test.per_class:
        print(f"  {row.name}: precision {row.precision:.1%}, recall {row.recall:.1%}, {row.support} pictures")

    learner.save(asked.model)
    again = ImageClassifier.load(asked.model)
    for answer in again.predict(asked.folder)[:3]:
        print(f"{answer.name}: {answer.label} ({answer.probability:.1%})")


if __name__ == "__main__":
    main()
