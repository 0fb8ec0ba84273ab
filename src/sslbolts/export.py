"""The backbone alone: out of a checkpoint into a file that others read, and out of others' checkpoints into ours."""

from sslbolts.checkpoints.backbone import Loaded, backbone_spec, load_backbone, read_backbone
from sslbolts.checkpoints.foreign.layouts import LAYOUTS, Layout
from sslbolts.checkpoints.foreign.reader import ImportReport
from sslbolts.checkpoints.writing.formats import FORMATS, export_backbone, write_backbone
from sslbolts.transforms.preprocessing import Preprocessing

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
    "write_backbone",
]
