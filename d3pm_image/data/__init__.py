"""Images and cached codes: sources → image sets → batches; tokenizer → code cache."""
