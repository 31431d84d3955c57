"""The pipeline graph: nodes, execution, cache, draws."""

from truevox.pipeline.cache import Cache
from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Call, Node, Signature, Transform, node
from truevox.pipeline.kinds import Batched, Combine, FanIn, FanOut, Pointwise, Source, Spatial
from truevox.pipeline.plan import Plan
from truevox.pipeline.regions import Casewise, Effect, Framewise, Labelwise, Local
from truevox.pipeline.run import Frame, NodeError, Run

__all__ = [
    "Batched",
    "Cache",
    "Call",
    "Casewise",
    "Combine",
    "Draw",
    "Effect",
    "FanIn",
    "FanOut",
    "Frame",
    "Framewise",
    "Labelwise",
    "Local",
    "Node",
    "NodeError",
    "Plan",
    "Pointwise",
    "Run",
    "Signature",
    "Source",
    "Spatial",
    "Transform",
    "node",
]
