"""PipelineRequest: what the whole road is started with."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from cogumi.dataset.request import DatasetRequest
from cogumi.evaluate.request import ValidateRequest
from cogumi.store.requests import KeptRequest
from cogumi.training.request import BaseRequest, DraftRequest, ImitationRequest, TrainRequest


class PipelineRequest(KeptRequest):
    """The dataset's request, and where the other phases run. One recipe serves all of them."""

    file: ClassVar[str] = "pipeline-request.json"

    dataset: DatasetRequest = Field(DatasetRequest(), description="recipe, names and store of all phases")
    dispatch: Literal["pools", "local"] = Field(
        "pools", description="pools: GPU phases on their work pools; local: in this process"
    )

    @staticmethod
    def of(value: Any) -> PipelineRequest:
        """From a flow run's parameters."""
        return value if isinstance(value, PipelineRequest) else PipelineRequest.model_validate(value)

    def named(self, period: str) -> PipelineRequest:
        """With dataset, run and period filled in: everything a pipeline makes is published, so it has a name."""
        asked = self.dataset
        if not asked.dataset:
            asked = asked.model_copy(update={"dataset": asked.load().name.lower()})
        return self.model_copy(update={"dataset": asked.named(period)})

    def base(self, version: str) -> BaseRequest:
        """What the base phase is asked for, given the label of the dataset's version; without one it takes the
        dataset in the run's folder.
        """
        return BaseRequest(**self._of_all(version))

    def train(self, version: str, base: str) -> TrainRequest:
        """What the adapters' phase is asked for, given the dataset's label and the base's id; without them it takes
        what is in the run's folder.
        """
        return TrainRequest(**self._of_all(version), base=base)

    def draft(self, version: str, target: str, imitation: str = "") -> DraftRequest:
        """What the draft's phase is asked for, given the dataset's label, the target's id, and that of what was learned
        of teacher text elsewhere; without them as above.
        """
        return DraftRequest(**self._of_all(version), target=target, imitation=imitation)

    def imitation(self, version: str, base: str) -> ImitationRequest:
        """What the draft's first part is asked for; `base` has the target's tokenizer."""
        return ImitationRequest(**self._of_all(version), target=base)

    def validation(self, version: str, **published: str) -> ValidateRequest:
        """What validation is asked for, given the dataset's label and the ids of suite, base, adapter, merged model and
        draft; without them it takes what is in the run's folder.
        """
        return ValidateRequest(**self._of_all(version), **published)

    def _of_all(self, version: str) -> dict[str, Any]:
        asked = self.dataset
        return {
            "recipe": asked.recipe,
            "overrides": asked.overrides,
            "run": asked.run,
            "dataset": f"{asked.dataset}@{version}" if version else "",
            "store": asked.versions,
            "period": asked.period,
            "root": asked.root,
            "change": asked.change,
        }
