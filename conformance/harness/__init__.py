"""What the suites share: cached installs, a server to test, stages with a last line of JSON."""
