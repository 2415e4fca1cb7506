"""Which of several models is better, how sure that is, and where they differ."""
