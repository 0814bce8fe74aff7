"""The method under reproduction: FAPN. Each module or package here holds one method and its SPEC."""
