"""Whether our verdicts agree with a real Nova (R21): random requests, judged by us, then really asked of Nova."""
