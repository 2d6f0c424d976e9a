"""Beyond the paper: facts that one training example alone can have taught."""
