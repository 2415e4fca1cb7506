"""The doctor of trainings: what is measured, what it means, and what can be healed on the spot."""
