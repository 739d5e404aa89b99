"""Write the simulator's instruction table (a C++ header) from ``isa.json``; run by CMake.

Standard library only: it runs while byoc itself is being built.
Usage: ``python generate.py isa.json isa_table.h``.
"""

import json
import sys
from pathlib import Path


def _truth(value: bool) -> str:
    return "true" if value else "false"


def header(table: dict) -> str:  # type: ignore[type-arg]
    """Return the C++ header: opcodes, one struct with a Decode per instruction, and the fields.

    Args:
        table: The content of ``isa.json``.
    """
    ops = table["instructions"]
    out = [
        "// Generated from isa.json by generate.py; do not edit.",
        "#ifndef BYOC_NPU_ISA_TABLE_H_",
        "#define BYOC_NPU_ISA_TABLE_H_",
        "#include <cstdint>",
        "#include <cstring>",
        "namespace byoc::npu {",
        f"inline constexpr int kIsaVersion = {table['version']};",
        f"inline constexpr int kInstructionWords = {table['bytes'] // 4};",
        "enum class Unit : int8_t { "
        + ", ".join(f"k{u.capitalize()}" for u in table["units"])
        + ", kNone };",
        "inline constexpr int kUnits = 4;",
        "enum class Opcode : uint8_t {",
        *(f"  k{name.capitalize()} = {op['opcode']}," for name, op in ops.items()),
        "};",
        "struct FieldInfo {",
        "  const char* name;",
        "  int word, bit, width;",
        "  bool is_signed, is_float;",
        "  int64_t low;",
        "};",
        "struct OpInfo { const char* name; Unit unit; int field_count; const FieldInfo* fields; };",
        "inline int64_t Bits(const uint32_t* w, int word, int bit, int width, bool is_signed) {",
        "  const uint64_t mask = (uint64_t{1} << width) - 1;",
        "  const int64_t v = static_cast<int64_t>(w[word] >> bit & mask);",
        "  return is_signed && (v >> (width - 1)) ? v - (int64_t{1} << width) : v;",
        "}",
        "inline float Real(const uint32_t* w, int word) {",
        "  float value;",
        "  std::memcpy(&value, w + word, sizeof(value));",
        "  return value;",
        "}",
    ]
    for name, op in ops.items():
        cap = name.capitalize()
        rows = op["fields"]
        if rows:
            cells = ", ".join(
                f'{{"{n}", {w}, {b}, {k}, {_truth(s == "s")}, {_truth(s == "f")}, {lo}LL}}'
                for n, w, b, k, s, lo, _ in rows
            )
            out.append(f"inline constexpr FieldInfo k{cap}Fields[] = {{{cells}}};")
        out.append(f"struct {cap} {{")
        out.extend(f"  {'float' if r[4] == 'f' else 'int64_t'} {r[0]} = 0;" for r in rows)
        out.append(f"  static {cap} Decode([[maybe_unused]] const uint32_t* words) {{")
        out.append(f"    {cap} i;")
        for n, w, b, k, s, _, _ in rows:
            bits = f"Bits(words, {w}, {b}, {k}, {_truth(s == 's')})"
            out.append(f"    i.{n} = {f'Real(words, {w})' if s == 'f' else bits};")
        out += ["    return i;", "  }", "};"]
    out.append("inline constexpr OpInfo kOps[] = {")
    for code, (name, op) in enumerate(ops.items()):
        assert op["opcode"] == code, "opcodes are dense and in order"
        unit = f"Unit::k{op['unit'].capitalize()}" if op["unit"] else "Unit::kNone"
        fields = f"k{name.capitalize()}Fields" if op["fields"] else "nullptr"
        out.append(f'    {{"{name}", {unit}, {len(op["fields"])}, {fields}}},')
    out += [
        "};",
        f"inline constexpr int kOpCount = {len(ops)};",
        "}  // namespace byoc::npu",
        "#endif  // BYOC_NPU_ISA_TABLE_H_",
        "",
    ]
    return "\n".join(out)


def tables(table: dict) -> str:  # type: ignore[type-arg]
    """Return the instructions as Markdown, one table each; docs/npu.md holds exactly this.

    Args:
        table: The content of ``isa.json``.
    """
    out = []
    for name, op in table["instructions"].items():
        unit = f"unit {op['unit']}" if op["unit"] else "all units"
        out += [f"#### {name} (opcode {op['opcode']}, {unit})", "", op["doc"], ""]
        if not op["fields"]:
            continue
        out += ["| field | word | bits | range | meaning |", "|---|---|---|---|---|"]
        for field, word, bit, width, sign, low, doc in op["fields"]:
            high = (1 << (width - (sign == "s"))) - 1
            bits = f"{bit}" if width == 1 else f"{bit + width - 1}..{bit}"
            values = "float32" if sign == "f" else f"{low}..{high}"
            out.append(f"| {field} | {word} | {bits} | {values} | {doc} |")
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(header(json.loads(Path(sys.argv[1]).read_text())))
