"""Section 4.2: attribution along fine-tuning."""
