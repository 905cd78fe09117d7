"""The main job from end to end, under load, with every answer counted: `make demo`."""
