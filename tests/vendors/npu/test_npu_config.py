"""The machine's description: what is legal, and what the error says when it is not."""

import pytest

from byoc.errors import OptionError
from byoc.vendor_templates.npu.machine.config import DEFAULT_CONFIG, NpuConfig, load_config


def test_the_default_file_is_the_default_machine():
    assert load_config(DEFAULT_CONFIG) == load_config(None) == NpuConfig()


def test_sizes_may_be_written_with_units():
    assert load_config({"activation": {"size": "1MiB"}}).activation.size == 1 << 20
    assert load_config({"weight": {"size": 4096}}).weight.size == 4096


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("array: {rows: 0}", "array.rows: input should be greater than or equal to 1 (found 0)"),
        ("array: {rows: 1.5}", "array.rows: input should be a valid integer"),
        ("array: {dataflow: sideways}", "array.dataflow: input should be 'weight-stationary' or"),
        ("activation: {size: many}", "activation.size: could not parse value and unit"),
        ("activation: {size: -5}", "activation.size:"),
        ("accumulator: {size: 1001}", "accumulator.size: input should be a multiple of 4"),
        ("clock_mhz: .nan", "clock_mhz: input should be"),
        ("clock_mhz: -1", "clock_mhz: input should be greater than 0 (found -1)"),
        ("link: {gigabytes_per_second: .inf}", "link.gigabytes_per_second: input should be"),
        ("dma: {widht: 4}", "dma.widht: extra inputs are not permitted"),
        ("dma: 5", "dma: input should be a valid dictionary"),
        ("vector: {lanes: 99999999999}", "vector.lanes: input should be less than or equal to"),
        ("- 1", "expected a mapping of fields, found list; legal: array, activation"),
        ("array: {rows: [", "the npu config is not YAML"),
    ],
)
def test_nonsense_names_the_field(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(OptionError) as error:
        load_config(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"nothing\.yaml: the npu config cannot be read: No such"):
        load_config(tmp_path / "nothing.yaml")


def test_several_faults_are_all_told():
    with pytest.raises(OptionError) as error:
        load_config({"array": {"rows": 0, "columns": 999}})
    assert str(error.value).count("npu config: array.") == 2
