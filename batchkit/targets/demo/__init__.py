"""The embedded demo platform: a real HTTP server on loopback that behaves like the agent platform."""

from batchkit.targets.demo.catalog import DemoPool
from batchkit.targets.demo.platform import DemoPlatform
from batchkit.targets.demo.serve import serve_forever
from batchkit.targets.demo.shared import SharedDemo

__all__ = ["DemoPlatform", "DemoPool", "SharedDemo", "serve_forever"]
