"""Methods that make a supervised task of images alone: positions, puzzles, rotations, colors, missing parts."""
