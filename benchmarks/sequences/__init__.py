"""Models of histories against mean pooling, on MovieLens-100K split by time."""
