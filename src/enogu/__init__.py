"""enogu: a foundry for anime base models, from booru posts to a released checkpoint."""

__version__ = "0.1.0"
