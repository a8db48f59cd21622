"""The answers as the API describes them (OpenAPI). They are not built from these classes."""

from typing import Literal

from pydantic import BaseModel, Field

NAME = Field(description="file name in the request, if it had one", examples=["a.png"])
SCORE = Field(description="image score, in a unit of the method's own", examples=[38.2])
BOX = Field(
    description="left, top, right, bottom in pixels of the picture; right and bottom are the first "
    "pixels outside",
    examples=[[120, 88, 150, 101]],
)
P_VALUE = Field(
    description="probability, at most, that a good picture has such a score or a higher one",
    examples=[0.0154],
)
NORMALISED = Field(description="from 0 to 1; 0.5 at the threshold", examples=[0.87])
MAP = Field(
    default=None,
    description="base64, with map=png of an 8-bit RGB PNG: the crop in grey under the colours of "
    "the heat map; with map=npy of a NumPy file, float32 [H,W]: the anomaly map of the crop",
)
MASK = Field(
    default=None,
    description="base64 of a 1-bit PNG in the size of the picture, with mask=true: white is "
    "defective",
)


class Region(BaseModel):
    box: tuple[int, int, int, int] = BOX
    area: int = Field(description="pixels of the picture", examples=[310])
    peak: float = Field(description="highest pixel score", examples=[9.4])


class Picture(BaseModel):
    name: str | None = NAME
    score: float = SCORE
    verdict: Literal["good", "defective", "unknown"]
    p_value: float | None = P_VALUE
    normalised: float | None = NORMALISED
    regions: list[Region] = Field(description="of a defective picture, largest first")
    width: int = Field(description="of the picture, upright", examples=[1280])
    height: int = Field(examples=[1024])
    warnings: list[str] = Field(
        description="in what the picture is unlike the training pictures; its verdict may mean "
        "nothing",
        examples=[["contrast 0.0; training pictures have 31.2 to 44.0"]],
    )
    map: str | None = MAP
    mask: str | None = MASK


class Rule(BaseModel):
    threshold: float | None = Field(
        description="image score from which a picture is defective", examples=[32.1]
    )
    threshold_from: Literal["fpr", "f1", "given"] | None
    fpr: float | None = Field(description="false-alarm rate of the threshold", examples=[0.01])
    extrapolated: bool = Field(
        description="the model has too few good pictures to promise this false-alarm rate"
    )


class Inspection(Rule):
    category: str
    model: str = Field(description="identifies the version of the model", examples=["3f9c2a7b10de"])
    pictures: list[Picture] = Field(description="in the order of the request")


class ServedModel(Rule):
    category: str
    model: str
    loaded: str = Field(description="date and time", examples=["2026-01-31T12:00:00+00:00"])
    method: str
    backbone: str
    training_pictures: int
    size: tuple[int, int] = Field(description="height and width of the network's input")
    smallest_fpr: float | None = Field(
        description="smallest false-alarm rate that the model can promise", examples=[0.0154]
    )


class ServedModels(BaseModel):
    models: list[ServedModel]


class State(BaseModel):
    state: str


class Error(BaseModel):
    error: str
