"""The parts of a schedule, one idea per file; ``LearningRate`` combines them."""

from torch_rechub.basic.callback.schedules.assigned import AssignedScheduler
from torch_rechub.basic.callback.schedules.group_rates import GroupOf, Schedulers, scale_scheduler
from torch_rechub.basic.callback.schedules.recipe import Interval, SchedulerRecipe
from torch_rechub.basic.callback.schedules.warm_up import WarmUp

__all__ = ["AssignedScheduler", "GroupOf", "Interval", "SchedulerRecipe", "Schedulers", "WarmUp", "scale_scheduler"]
