"""The backbone alone: out of a checkpoint into a file that others read, and out of others' checkpoints into ours."""

from sslbolts.export.backbone import backbone_spec, export_backbone, load_backbone

__all__ = ["backbone_spec", "export_backbone", "load_backbone"]
