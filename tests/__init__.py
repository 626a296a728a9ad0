"""sabio's test suite, a package so that the tests can import what they share from `tests.support`."""
