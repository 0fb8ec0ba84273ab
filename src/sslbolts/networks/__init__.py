"""Networks: backbones, heads, teachers, and the one way to read a layer inside them."""
