"""Values that the engine provides to the constructors of parts, besides the options of presets.

A constructor asks for it by an annotation, and may call its parameter as it likes:

    class MyNetwork(Network):
        def __init__(self, shape: ItemShape, classes: ClassCount, width: int = 64) -> None: ...

`width` is an option of presets, the others are filled in. Each room's registry says what it provides; a constructor
that asks for anything else is refused. Types that cost an import of torch are annotated in full,
`times: Annotated[Times, TIMES_LAW]`.
"""

from typing import Annotated

from hgfctl.registry import Provided

ITEM_SHAPE = Provided("the shape of an item")
CLASS_COUNT = Provided("the number of classes, 0 for none")
AUGMENTED_NUMBERS = Provided("how many numbers say how an item was augmented, 0 for none")
DATA_SCALE = Provided("the root mean square of the data, per coordinate")
DURATION = Provided("the duration T of the flow")
FORCE = Provided("the force of the flow")
FORCE_CONTEXT = Provided("what a force may need besides its options")
SCORE_READER = Provided("a function that reads the score of a checkpoint, or None")
NETWORK = Provided("the network")
FLOW = Provided("the flow")
TIMES_LAW = Provided("the law of times")
AUGMENTATION = Provided("the augmentation, or None")
CRITIC = Provided("a second network of the same kind")
DENSITY = Provided("the density of the data, known exactly")
TEACHER = Provided("the trained predictor that training starts from, or None")
DEVICE = Provided("the device")

ItemShape = Annotated[tuple[int, ...], ITEM_SHAPE]
ClassCount = Annotated[int, CLASS_COUNT]
AugmentedNumbers = Annotated[int, AUGMENTED_NUMBERS]
DataScale = Annotated[float, DATA_SCALE]
Duration = Annotated[float, DURATION]
