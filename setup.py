"""Name the packages: folders with short names are installed under longer ones (see pyproject.toml).

setuptools can map a folder to an import name, but cannot search for packages under such a mapping;
without this file every new sub-package would have to be listed by hand. Everything else is declared
in pyproject.toml.
"""

from setuptools import find_packages, setup

RENAMED = {
    "fvsr_models": "models",
    "fvsr_baselines": "baselines",
    "fvsr_weights": "weights",
    "fvsr_claims": "claims",
}

packages = find_packages(include=["fvsr_bench", "fvsr_bench.*"])
for name, folder in RENAMED.items():
    packages += [name, *(f"{name}.{inner}" for inner in find_packages(folder))]

setup(packages=packages)
