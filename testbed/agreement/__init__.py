"""Compares our verdicts with a real Nova (R21): random requests are assessed by us, and then sent to Nova."""
