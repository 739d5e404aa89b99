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
