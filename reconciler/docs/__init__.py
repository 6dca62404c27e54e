"""The parts of `docs/reference` that are made from the reconciler's own tables: `python -m reconciler.docs`."""
