"""What a first script costs: by batch size, and by threads on an idle and on a busy machine."""
