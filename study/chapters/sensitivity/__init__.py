"""Beyond the paper: what its result hangs on."""
