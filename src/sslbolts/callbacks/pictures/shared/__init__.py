"""Parts that several pictures use: their images, and the way into files and loggers."""
