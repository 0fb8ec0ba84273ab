"""Detection: the backbone finds objects, in a Faster R-CNN."""
