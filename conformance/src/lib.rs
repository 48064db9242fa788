//! Black-box suites on any endpoint, real clients, repository checks.
