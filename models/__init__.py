"""The methods under reproduction: FAPN. Each module or package here with a SPEC is a method."""
