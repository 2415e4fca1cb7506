"""The charts of a search say in words what they show."""

from __future__ import annotations

from corecur.report.search_charts import front_chart, history_chart, importance_chart, slice_chart


def test_a_history_ends_at_its_best() -> None:
    figure = history_chart([0, 1, 4], [0.5, 0.7, 0.6], [0.5, 0.7, 0.7], of="accuracy", write=lambda v: f"{v:.1f}")
    assert figure.alt == "Accuracy by trial: the best went from 0.5 to 0.7 in 3 trials."


def test_a_front_names_its_points() -> None:
    figure = front_chart(
        [1, 2, 3], [0.1, 0.3, 0.2], [(1, 0.1), (2, 0.3)], of="accuracy", cost="latency", write=str,
        unit=lambda v: f"{v} ms",
    )  # fmt: skip
    assert figure.alt == "Pareto front of accuracy and latency: 0.1 at 1 ms; 0.3 at 2 ms."


def test_names_of_any_kind_are_text_in_the_drawing() -> None:
    assert "a&lt;b&gt; $x$" in importance_chart(["a<b>_$x$"], [1.0]).picture
    assert "&lt;i&gt;" in slice_chart("model", ["<i>", "b"], [0.1, 0.2], log=False, write=str).picture
    assert "at 0.5" in slice_chart("rate", [0.001, 0.5], [0.1, 0.2], log=True, write=str).alt
