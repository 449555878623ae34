"""Networks as models of other tools: one description of them, `graph`, and a writer for each."""
