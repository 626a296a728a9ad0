"""Programs that an instrumented build of sabio is run with: see `__main__.py`."""
