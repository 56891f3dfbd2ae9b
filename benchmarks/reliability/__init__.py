"""What each library does when something goes wrong, seen by causing it."""
