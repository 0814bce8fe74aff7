"""The method under reproduction, FAPN. Each module or package holds one method and its SPEC."""
