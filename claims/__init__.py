"""The numbers and statements of papers, as TOML. This file only makes them installable."""
