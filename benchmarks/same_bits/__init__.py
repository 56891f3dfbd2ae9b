"""What must not change: the results of two commits, compared bit by bit."""
