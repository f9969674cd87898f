"""Warm starts: per environment a template process that has imported its libraries, and children of it kept ready for jobs.

A keeper process (keeper.py) owns one template (template.py) and its ready children; a handler takes one (take.py).
"""
