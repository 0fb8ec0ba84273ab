"""Methods on text: words and sentences in place of images."""
