"""The backbone alone: out of a checkpoint into a file that others read, and out of others' checkpoints into ours."""

from sslbolts.checkpoints.backbone import Loaded, backbone_spec, export_backbone, load_backbone, read_backbone
from sslbolts.checkpoints.foreign import ImportReport
from sslbolts.checkpoints.formats import FORMATS
from sslbolts.checkpoints.layouts import LAYOUTS, Layout
from sslbolts.checkpoints.preprocessing import Preprocessing

__all__ = [
    "FORMATS",
    "LAYOUTS",
    "ImportReport",
    "Layout",
    "Loaded",
    "Preprocessing",
    "backbone_spec",
    "export_backbone",
    "load_backbone",
    "read_backbone",
]
