"""Tabs of the demo for dynamics: films from one frame, and orbits from one state."""
