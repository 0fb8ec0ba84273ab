"""What several pictures use: their images, and where they go."""
