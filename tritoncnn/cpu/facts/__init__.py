"""What is known of tensors before code for them is written, and what the lowering remarks on the way."""
