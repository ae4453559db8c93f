"""Loading a cloud's SDK, which is most of the time of a program that declares something of it."""

from __future__ import annotations

import gc
import importlib


def load(package: str, *modules: str) -> None:
    """Load these modules of a provider's package (``pulumi_gcp``), which loads each only when it is first used.

    They define tens of thousands of classes and make no garbage: the collector, which would go through all of them
    again and again, is held for as long, and passes them over later. benchmarks/preview.py shows what that saves.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        for name in modules:
            # The package hands out stand-ins, which load themselves when an attribute is asked for.
            hasattr(importlib.import_module(f"{package}.{name}"), "outputs")
        gc.freeze()
    finally:
        if was_on:
            gc.enable()
