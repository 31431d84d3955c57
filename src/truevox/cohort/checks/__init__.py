"""What `check` looks for: in headers, in voxels, across the cohort; pictures of it, and repairs."""
