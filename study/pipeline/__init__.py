"""What a run computes and keeps: fine-tunes, answers, gradients, scores, each a stage in one folder."""
