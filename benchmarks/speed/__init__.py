"""The processor time of training, ours and that of comparable libraries."""
