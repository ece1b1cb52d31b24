import json

from benchmarks.report import as_json, markdown
from benchmarks.samples import Claim, RowResult, Sample

RESULT = RowResult(
    number=4,
    title="The isolation's start",
    samples=(
        Sample("hotdesk", -1, {"seconds of the whole process": 9.0}),
        Sample("hotdesk", 0, {"seconds of the whole process": 0.120}),
        Sample("docker", 0, {"seconds of the whole process": 0.480}),
    ),
    claims=(
        Claim("hotdesk", "seconds of the whole process", 0.15),
        Claim("hotdesk", "seconds of the whole process", 0.2, against="docker"),
    ),
    notes=("everything cached",),
)


def test_medians_come_with_units_and_the_number_of_samples() -> None:
    text = markdown([RESULT], {"cores": "2"})

    assert "| hotdesk | of the whole process | 120 ms | 120 ms … 120 ms | 120 ms … 120 ms | 1 |" in text
    assert "- cores: 2" in text


def test_claims_say_whether_they_hold() -> None:
    text = markdown([RESULT], {})

    assert "| hotdesk: of the whole process | 120 ms | 120 ms … 120 ms | ≤ 150 ms | yes |" in text
    assert "against docker | 0.250 times | 0.250 times … 0.250 times | ≤ 0.200 times | **no** |" in text


def test_the_json_holds_every_sample_with_the_warm_up() -> None:
    data = json.loads(json.dumps(as_json([RESULT], {})))

    assert [sample["block"] for sample in data["rows"][0]["samples"]] == [-1, 0, 0]
    assert [judged["reached"] for judged in data["rows"][0]["judged"]] == [True, False]
