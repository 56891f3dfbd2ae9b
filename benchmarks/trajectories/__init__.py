"""Shows that training by rows is training by Adam: validation AUC check by check, beside torch's own."""
