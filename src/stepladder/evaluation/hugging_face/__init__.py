"""Models as the Hugging Face library `transformers` has them: which of its classes, and under which names."""
