"""The doctor's rules, one file for each kind of fault."""
