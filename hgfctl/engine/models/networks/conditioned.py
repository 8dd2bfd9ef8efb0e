"""Networks that are told the class of an item and how it was augmented."""

from torch import Tensor, nn

from hgfctl.engine.models.networks.embeddings import class_vectors
from hgfctl.engine.models.networks.network import Network


class Conditioned(Network):
    """Has linear maps from classes and from the numbers of an augmentation to its conditioning vector.

    A subclass sets the attributes, and calls the two methods where its conditioning vector takes them up.
    """

    classes: int
    """Number of classes; 0 for none."""
    label_dropout: float
    """Probability of hiding the class in training, for guidance."""
    map_augment: nn.Linear | None
    """From the numbers of an augmentation; None for a network that is told none."""

    def known_classes(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """Classes (B,) as vectors (B, classes), some of them hidden in training; see `class_vectors`."""
        return class_vectors(labels, self.classes, like, self.label_dropout if self.training else 0.0)

    def with_augmentation(self, emb: Tensor, augmented: Tensor | None) -> Tensor:
        """The conditioning vector (B, C), and what is known of the augmentation (B, k) added to it."""
        if self.map_augment is None or augmented is None:
            return emb
        mapped: Tensor = self.map_augment(augmented.to(emb.dtype))
        return emb + mapped
