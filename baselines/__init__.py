"""The methods FAPN is compared with, one file each: its name is the method, SPEC describes it."""
