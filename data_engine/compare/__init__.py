"""The differences between two values: frames, files, objects. A difference is a frozen value; drawing lies elsewhere."""
