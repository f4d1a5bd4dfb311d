"""Settings, files, arrays and text: what every other package reads and writes with."""
