"""A detector: features and the head of a method."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from common.errors import UsageError, WorkError
from common.timing import phase
from models.anomaly_map import AnomalyMap, image_scores
from models.heads import HEAD, Head, Maps
from models.kept import KeptMaps
from models.record import Record
from models.roi import Roi


@dataclass(frozen=True)
class Scores:
    """`image` float32 [B]: one per picture; `map` float32 [B,H,W]: one per pixel.

    The two may have different units.
    """

    image: np.ndarray
    map: np.ndarray


class NotLearnedError(UsageError):
    """A picture to be taken out that the detector cannot have learned; `index`: its number."""

    def __init__(self, index: int):
        super().__init__(f"the model did not learn from picture {index}", "forget")
        self.index = index


class Detector:
    """Pictures → features → head → anomaly map. `fit` learns, `score` computes scores.

    Parameters
    ----------
    features : callable, pictures → stage maps (models.features); for a fused graph, pictures →
        anomaly maps [B,H,W] and image scores [B]
    head : of the method, or None for a fused graph
    record : Record
    name : for messages, for example the path of the model file
    roi : region of interest; a fused graph contains it
    device : of the head's scores, cpu or gpu:N
    """

    def __init__(
        self,
        features,
        head: Head | None,
        record: Record,
        name: str = "the model",
        roi: Roi | None = None,
        device: str = "cpu",
    ):
        self.features, self.head, self.record, self.name = features, head, record, name
        self.device, self._scoring, self._lock = device, None, threading.Lock()
        self.roi, grid = roi, record.features.stages[0][1]
        self.to_map = AnomalyMap(grid, record.size, record.sigma, roi)

    @property
    def size(self) -> tuple[int, int]:
        """(H,W) of the pictures."""
        return self.record.size

    def fit(
        self,
        batches: Iterable[np.ndarray],
        kept: KeptMaps | None = None,
        head: Head | None = None,
        join: Callable[[Head], Head] | None = None,
    ) -> None:
        """Learn from normal pictures, float32 [B,3,H,W] per batch, in one pass.

        Their stage maps are added to `kept`. `head`: to learn on with, from `blank` or `reopened`;
        without it, what was learned before is forgotten, once this succeeds. `join`: adds what
        other processes learned, before the head is finished. UsageError if there
        are too few pictures, WorkError if their features cannot be used.
        """

        def stage_maps() -> Iterator[list[np.ndarray]]:
            for images in batches:
                maps = self.maps(images)
                if kept is not None:
                    with phase("keeping"):
                        kept.add(maps)
                yield maps

        self.learn(stage_maps(), head, join)

    def learn(
        self,
        batches: Iterable[list[np.ndarray]],
        head: Head | None = None,
        join: Callable[[Head], Head] | None = None,
    ) -> None:
        """As `fit`, from batches of stage maps."""
        head = head or self.blank()
        for maps in batches:
            with phase("statistics"):
                head.update(self._masked(maps))
        if join is not None:
            with phase("merging"):
                head = join(head)
        if head.n == 0:
            raise UsageError("there are no training pictures")
        self._end(head)

    def blank(self) -> Head:
        """A head of the detector's settings that has learned nothing."""
        if self.head is None:
            raise ValueError("a fused graph cannot learn")
        return type(self.head)(self.record.settings, list(self.record.features.stages))

    def reopened(self) -> Head:
        """A copy of the fitted head that can learn on; UsageError if the method has none."""
        return reopened(self.head, self.record.method)

    def forget(self, batches: Callable[[], Iterable[np.ndarray]]) -> None:
        """Take learned pictures out again; the detector is then as if it had never seen them.

        `batches()`: the pictures, float32 [B,3,H,W] per batch; called twice. UsageError if the
        method cannot do that, a picture cannot have been learned, or fewer than two remain.
        """
        method = self.record.method
        if not hasattr(self.head, "forget"):
            raise UsageError(f"a model of {method} cannot take pictures out", "forget")
        index = 0
        for images in batches():
            foreign = self.head.foreign(self._masked(self.maps(images)))
            if foreign.any():
                raise NotLearnedError(index + int(foreign.argmax()))
            index += len(images)
        if index > self.record.pictures - 2:
            raise UsageError(
                f"{index} of the model's {self.record.pictures} pictures; at least 2 must remain",
                "forget",
            )
        head = self.reopened()
        for images in batches():
            head.forget(self._masked(self.maps(images)))
        self._end(head)

    def _end(self, head: Head) -> None:
        """Finish `head` and score with it from now on."""
        try:
            with phase("finishing"):
                head.finish()
        except WorkError as error:
            weights = self.record.features.weights.name
            raise WorkError(
                f"{error}; check that the weights {weights} belong to this backbone"
            ) from error
        with self._lock:
            self.head, self._scoring = head, None
        known = {"pictures": head.n, "settings": head.settings, "unit": head.unit}
        self.record = replace(self.record, **known)

    def score(self, images: np.ndarray) -> Scores:
        """Scores of pictures float32 [B,3,H,W]; each score depends only on its picture."""
        if self.record.pictures == 0:
            raise ValueError("the detector has not learned from any picture: call fit first")
        maps = self.maps(images)
        with phase("scoring"):
            return self.judge(maps)

    def left_out(self, maps: list[np.ndarray], first: int) -> Scores:
        """Scores that training pictures would have had if each were left out of training.

        `maps`: stage maps of the pictures `first`, `first` + 1, …, counted from 0 in the order of
        learning. A score is not finite where nothing else was learned.
        """
        with phase("scoring"), np.errstate(invalid="ignore"):
            return self._scores(*self.head.leave_one_out(self._masked(maps), first))

    def left_out_image(self, maps: list[np.ndarray], first: int) -> np.ndarray:
        """Only the image scores of `left_out`, [B]; for a head with `few_maps`."""
        with phase("scoring"):
            return self.head.leave_image_out(self._masked(maps), first)

    def judge(self, maps: list[np.ndarray]) -> Scores:
        """Scores from the outputs of `features`; WorkError if scores are not finite."""
        if self.head is None:
            anomaly_maps, image = maps
        else:
            found = self._scores(*self._head_score()(self._masked(maps)))
            image, anomaly_maps = found.image, found.map
        if not (np.isfinite(image).all() and np.isfinite(anomaly_maps).all()):
            raise WorkError(f"{self.name}: the scores are not finite; train the model again")
        return Scores(image, anomaly_maps)

    def _head_score(self) -> Callable[[Maps], tuple[np.ndarray | None, np.ndarray]]:
        """`Head.score` on the detector's device, prepared at first use."""
        if self.device == "cpu":
            return self.head.score
        with self._lock:
            if self._scoring is None:
                from models.device_head import scoring

                self._scoring = scoring(self.head, self.device)
            return self._scoring

    def _scores(self, image: np.ndarray | None, patches: np.ndarray) -> Scores:
        """From what a head gives: image scores [B] or None, patch scores [B,h,w]."""
        anomaly_maps = self.to_map(patches)
        return Scores(image_scores(anomaly_maps) if image is None else image, anomaly_maps)

    def _masked(self, maps: list[np.ndarray]) -> list[np.ndarray]:
        """The stage maps that a head sees."""
        return maps if self.roi is None else self.roi.masked(maps)

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        """The stage maps of pictures float32 [B,3,H,W]."""
        right = images.ndim == 4 and len(images) > 0 and images.dtype == np.float32
        if not right or images.shape[1:] != (3, *self.size):
            raise ValueError(
                f"expected normalised float32 pictures [B,3,{self.size[0]},{self.size[1]}], "
                f"got {images.dtype} {images.shape}"
            )
        with phase("network"):
            return self.features(images if self.roi is None else self.roi.visible(images))

    def arrays(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """The arrays that a checkpoint stores of a fitted detector, in addition to its record."""
        return {**self.features.arrays(), **head_arrays(self.head, dtype), **self.roi_arrays()}

    def roi_arrays(self) -> dict[str, np.ndarray]:
        """The array of the region of interest, if there is one."""
        return {} if self.roi is None else self.roi.arrays()


def reopened(head: Head, method: str) -> Head:
    """A copy of a finished head that can learn on; UsageError if the `method` has none."""
    if not hasattr(head, "reopened"):
        raise UsageError(f"a model of {method} cannot learn on; train a new one")
    return head.reopened()


def head_arrays(head: Head, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The arrays of a head under the names that they have in a file."""
    return {f"{HEAD}{name}": array for name, array in head.arrays(dtype).items()}
