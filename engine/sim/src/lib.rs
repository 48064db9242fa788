//! Fakes and contract suites of the ports; deterministic simulation.
