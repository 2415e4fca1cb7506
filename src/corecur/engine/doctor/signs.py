"""Signs that several diagnoses go by."""

from __future__ import annotations

from corecur.engine.doctor.record import Record

#: Less than this share of the baseline's loss gone is nothing learnt; fewer steps than these are too few to say so.
LEARNT_NOTHING, ENOUGH_STEPS = 0.06, 60


def is_stuck(record: Record) -> bool:
    """Whether the training is no better than an answer that does not look at the input, and gets no better.

    >>> is_stuck(Record([]))
    False
    """
    skill = record.train_skill
    return skill is not None and skill < LEARNT_NOTHING and not record.is_falling
