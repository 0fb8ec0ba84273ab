"""The backbone alone: out of a checkpoint into a file that others read, and out of others' checkpoints into ours."""

from sslbolts.export.backbone import Loaded, backbone_spec, export_backbone, load_backbone, read_backbone
from sslbolts.export.foreign import ImportReport
from sslbolts.export.formats import FORMATS
from sslbolts.export.layouts import LAYOUTS, Layout
from sslbolts.export.preprocessing import Preprocessing

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
