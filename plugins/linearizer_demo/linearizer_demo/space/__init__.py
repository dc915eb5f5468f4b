"""A Gradio Space for trained models: a folder that holds all it needs, built here and deployed in one commit."""

from linearizer_demo.space.build import SpaceModel, build_space, space_models

__all__ = ["SpaceModel", "build_space", "space_models"]
