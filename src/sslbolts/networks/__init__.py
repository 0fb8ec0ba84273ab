"""What images go through: backbones, heads, teachers, and the one way to read a layer inside them."""
