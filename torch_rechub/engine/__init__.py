"""The one training loop, and all that it needs: batches, gradients, validation, resume, several processes."""

__all__: list[str] = []
