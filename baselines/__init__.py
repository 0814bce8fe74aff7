"""The methods that FAPN is compared with: one file, one SPEC each."""
