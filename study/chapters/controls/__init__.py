"""Beyond the paper: every method compared with baselines that never see the fine-tuned model."""
