"""GaussianNoise, GaussianDropout, AlphaDropout and ActivityRegularization."""
