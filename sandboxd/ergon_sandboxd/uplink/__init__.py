"""A way out of a sandbox's network: a process outside that makes the job's connections for it, and a gate that the kernel keeps."""
