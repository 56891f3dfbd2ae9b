"""The behaviour of each library in case of faults, which are caused and observed."""
