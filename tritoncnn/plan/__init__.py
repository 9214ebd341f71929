"""Graph -> Plan: a static list of launches, each tensor in its place."""

from tritoncnn.plan.memory import Place
from tritoncnn.plan.plan import Call, Plan
from tritoncnn.plan.schedule import make_plan

__all__ = ["Call", "Place", "Plan", "make_plan"]
