"""Influence of training examples on the behaviour of LoRA fine-tuned language models.

The engine (this folder) knows tensors, models and examples; `ifcore.study` is one paper built on it.
"""
