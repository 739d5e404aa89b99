"""What excludes what, and which recipe options ask for."""

import pytest

from byoc.build.readiness import Background
from byoc.errors import OptionError
from byoc.recipes import MODES, CompileOptions, recipe_for
from byoc.specialise import Specialise

LATE, SHAPES = Background(), Specialise()

REFUSED = [
    ({"dry_run": True, "placement": "measured"}, "a dry run does neither: use 'model'"),
    ({"placement": "measured", "specialise": SHAPES}, "times one shape.*leave one of the two out"),
    ({"placement": "measured", "background": LATE}, "nothing is left to build in the background"),
    ({"specialise": SHAPES, "background": LATE}, "background is for models of fixed shapes"),
    ({"specialise": SHAPES, "locked": "a.lock"}, "leave locked out"),
    ({"budget": 5}, "budget belongs to placement='measured'"),
    ({"placement": "mesured"}, "did you mean 'measured'"),
    ({"placement": "mdel", "dry_run": True}, "did you mean 'model'"),
    ({"locked": "a.lock", "placement": "measured", "budget": 5}, "budget belongs to"),
    ({"precision": "bf61"}, "precision 'bf61': did you mean 'bf16'. legal: auto, bf16, f16, f32"),
    ({"precision": None}, "precision None: legal"),
    ({"max_error": 0.1}, "give one of them, or leave max_error out"),
    ({"max_error": 0.0, "precision": "bf16"}, "a relative error above 0.*found 0.0"),
    ({"max_error": float("nan"), "precision": "bf16"}, "max_error must be a number, found nan"),
    ({"calibration": [{}], "precision": "bf16"}, "calibration holds inputs to compare"),
    ({"precision": "auto", "placement": "measured"}, "times plans of one precision"),
    ({"precision": "auto", "background": LATE}, "run every engine before the first answer"),
    ({"precision": "bf16", "max_error": 0.1, "specialise": SHAPES}, "compare at one shape"),
    ({"locked": "a.lock", "placement": "model"}, "placement='model' cannot be obeyed too"),
    ({"locked": "a.lock", "placement": "measured"}, "placement='measured' cannot be obeyed too"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_options_that_exclude_each_other_are_refused(asked, message):
    with pytest.raises(OptionError, match=message):
        CompileOptions(**asked)


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({}, "plain"),
        ({"placement": "model"}, "plain"),
        ({"precision": "bf16"}, "plain"),
        ({"precision": "auto", "dims": {"n": 4}}, "compared"),
        ({"precision": "bf16", "max_error": 0.1, "locked": "a.lock"}, "compared"),
        ({"locked": "a.lock"}, "plain"),
        ({"placement": "measured", "budget": "5s", "dims": {"n": 4}}, "measured"),
        ({"background": LATE, "locked": "a.lock"}, "background"),
        ({"specialise": SHAPES, "placement": "model"}, "specialised"),
    ],
)
def test_options_ask_for_one_recipe(asked, mode):
    options = CompileOptions(**asked)
    (found,) = [m for m in MODES if m.name == mode]
    assert found.asked(options)
    assert recipe_for(options) is found.recipe
