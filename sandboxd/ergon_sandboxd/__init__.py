"""sandboxd: the one privileged process of Ergon. It makes, watches and removes sandboxes, and knows nothing of jobs."""
