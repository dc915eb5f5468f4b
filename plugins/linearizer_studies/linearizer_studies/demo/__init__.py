"""Tabs of the demo for any model of pictures: walks in its space, and a look inside its operator."""
