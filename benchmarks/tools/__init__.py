"""What all benchmarks share: `command` (options), `environment`, `timing`, `memory`, `results` (what is written), `figures` (what is compared), `tables`."""
