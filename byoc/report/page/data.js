// The report's records, made of the columns that pack.py wrote; figures as people read them.

const errors = [];
window.addEventListener("error", (event) => {
  errors.push(event.message);
  document.getElementById("check").textContent = JSON.stringify({ errors });
});

const unpackColumn = (column, n) => {
  if (Array.isArray(column)) return column;
  if ("all" in column) return new Array(n).fill(column.all);
  if ("from" in column) return Array.from({ length: n }, (_, k) => column.from + k);
  if ("of" in column) {
    const of = unpackColumn(column.of, 0);
    return column.at.map((k) => of[k]);
  }
  const rows = unpack(column.rows);
  let at = 0;
  return column.lengths.map((count) => rows.slice(at, (at += count)));
};
const unpack = (table) => {
  const names = Object.keys(table.columns);
  const columns = names.map((name) => unpackColumn(table.columns[name], table.n));
  const rows = new Array(table.n);
  for (let k = 0; k < table.n; k++) {
    const row = {};
    for (let c = 0; c < names.length; c++) row[names[c]] = columns[c][k];
    rows[k] = row;
  }
  return rows;
};

const report = { ...data };
for (const name of Object.keys(data.tables)) report[name] = unpack(data.tables[name]);
const ops = report.ops;
const blocks = unpack(data.layout.blocks);
const position = new Map(ops.map((op, k) => [op.index, k]));
ops.forEach((op, k) => {
  op.k = k;
  op.x = data.layout.x[k];
  op.y = data.layout.y[k];
  op.block = data.layout.owner[k];
  op.readers = [];
  op.reads = op.inputs.map((i) => position.get(i)).filter((p) => p !== undefined && p !== k);
});
for (const op of ops) for (const p of op.reads) ops[p].readers.push(op.k);
blocks.forEach((block, k) => { block.k = k; block.ops = []; });
for (const op of ops) blocks[op.block].ops.push(op.k);
const segmentOf = new Map(report.segments.map((s) => [s.name, s]));
const blockOf = new Map(blocks.map((b) => [b.name, b]));
const OP_W = data.layout.op_width, OP_H = data.layout.op_height;

// Figures ------------------------------------------------------------------------------------------

const scaled = (v, base, units) => {
  if (v === null || v === undefined) return "?";
  let k = 0;
  while (Math.abs(v) >= base && k + 1 < units.length) { v /= base; k += 1; }
  return (k ? Number(v.toPrecision(3)) : Math.round(v)) + units[k];
};
const count = (v) => scaled(v, 1000, ["", " k", " M", " G", " T"]);
const size = (v) => scaled(v, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
const percent = (v) => v === null ? "?" :
  (v < 1 ? Math.min(Math.round(v * 1000) / 10, 99.9) : 100).toFixed(1) + " %";
const seconds = (v) => {
  if (v === null || v === undefined) return "?";
  const a = Math.abs(v), sign = v < 0 ? "−" : "";
  for (const [unit, scale] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]])
    if (a >= scale * 0.9995) {
      const x = a / scale;
      return sign + (x >= 100 ? x.toFixed(0) : String(Number(x.toPrecision(3)))) + " " + unit;
    }
  return a < 5e-9 ? "0 µs" : `${sign}${Number((a / 1e-6).toPrecision(3))} µs`;
};
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const WIDTH = { bool: 1 };
const tensorBytes = (type) => {
  const m = /^([a-z]+)(\d*)[a-z0-9_]*\[([\d, ]*)\]$/.exec(type);
  if (!m) return null;
  const bits = WIDTH[m[1]] ? 8 * WIDTH[m[1]] : Number(m[2]) || 64;
  return (m[3] ? m[3].split(",").reduce((a, d) => a * Number(d), 1) : 1) * bits / 8;
};

// Colours: one per place, distinguishable without red and green ------------------------------------

const LIGHT = ["#2b6fd6", "#0f8a6a", "#8148c8", "#c23b78", "#0784a8", "#6f7d12"];
const DARK = ["#6ea4ff", "#3fcf9f", "#b98cff", "#ff86b8", "#4cc9ec", "#c2d04a"];
const HOST = { light: "#b8741a", dark: "#f0b25a" };
const places = [...new Set([...report.vendors,
  ...(data.profile ? unpack(data.profile.tasks).map((t) => t.vendor).filter(Boolean) : [])])];
const isDark = () => document.documentElement.dataset.theme === "dark";
const colour = (place) => {
  if (place === "host") return isDark() ? HOST.dark : HOST.light;
  const k = places.indexOf(place), list = isDark() ? DARK : LIGHT;
  if (k >= 0 && k < list.length) return list[k];
  return `hsl(${(k * 137 + 20 + 360) % 360} 60% ${isDark() ? 70 : 42}%)`;
};

// Elements: text is always text, never markup --------------------------------------------------------

const byId = (id) => document.getElementById(id);
const el = (tag, cls, ...children) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  for (const child of children)
    if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
};
const button = (label, action, cls = "link") => {
  const node = el("button", cls, label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
};
const chip = (place, label = place) => {
  const dot = el("span", "dot");
  dot.dataset.place = place;
  dot.style.background = colour(place);
  return el("span", "chip", dot, label);
};
