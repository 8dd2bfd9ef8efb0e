"""A listener of evaluations, for those who show their progress."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from hgfctl.engine.evaluation.feature_pass import Progress
from hgfctl.engine.evaluation.image_sets import ImageSet


def _nothing(done: int) -> None:
    pass


class Watch:
    """Hears what an evaluation does; each method does nothing unless it is overridden."""

    def loading(self) -> AbstractContextManager[None]:
        """Entered while features are loaded."""
        return nullcontext()

    def passing(self, images: ImageSet) -> AbstractContextManager[tuple[Progress, Callable[[], bool]]]:
        """Entered for a pass over images; gives who hears how many are done, and whether to save and stop."""
        return nullcontext((_nothing, lambda: False))

    def warned(self, message: str) -> None:
        """Hears a warning before the work begins."""
