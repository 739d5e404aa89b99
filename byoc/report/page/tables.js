// The other views: one table each. Column: [title, cell, key to sort by, class].

const PAGE = 300;
const num = (title, key, shown) => [title, (r) => shown(r[key]), (r) => r[key], "n"];
const text = (title, key, cls = "") => [title, (r) => r[key], (r) => r[key], cls];
const placeCell = (r) => chip(r.place, r.segment || r.place);
const whyCell = (op) => {
  const cell = el("span", "", button(op.name, () => go({ op: op.index })));
  for (const v of verdictsOf(op).filter((v) => v.reason))
    cell.append(el("div", "why", `${v.vendor}${v.pattern ? "." + v.pattern : ""}: ${v.reason}`));
  return cell;
};
const TABLES = {
  segments: { title: "Segments", rows: () => report.segments, columns: [
    ["segment", (s) => button(s.name, () => go({ segment: s.name })), (s) => s.name, "mono"],
    ["vendor", (s) => chip(s.vendor), (s) => s.vendor], num("ops", "ops", String),
    num("composites", "composites", String), num("FLOPs", "flops", count), num("weights", "weight_bytes", size),
    num("inputs", "inputs", String), num("in", "input_bytes", size), num("outputs", "outputs", String),
    num("out", "output_bytes", size), num("predicted", "predicted", seconds), num("measured", "measured", seconds),
    num("on the host", "on_host", seconds), text("function", "function")] },
  ops: { title: "Ops", rows: () => state.hits ? [...state.hits.ops].map((k) => ops[k]) : ops, columns: [
    num("#", "index", String), text("op", "op", "mono"),
    ["name in the model, and why not elsewhere", whyCell, (r) => r.name, "wide mono"],
    ["place", placeCell, (r) => r.segment || ""], text("pattern", "pattern", "mono"), num("FLOPs", "flops", count),
    num("bytes", "bytes", size), num("cost", "cost", seconds), text("type", "type", "mono")] },
  reasons: { title: "Reasons", rows: () => report.reasons, columns: [
    num("ops", "count", String), ["vendor", (r) => chip(r.vendor), (r) => r.vendor],
    ["reason", (r) => button(r.reason, () => go({ tab: "ops", find: r.reason })), (r) => r.reason, "wide"],
    ["kinds of op", (r) => r.ops.join(", "), (r) => r.ops.join(", "), "mono"]] },
  borders: { title: "Borders", rows: () => report.borders, columns: [
    ["from", (r) => placeLink(r.source), (r) => r.source, "mono"], ["to", (r) => placeLink(r.target), (r) => r.target, "mono"],
    num("tensors", "tensors", String), num("bytes", "bytes", size), num("predicted", "predicted", seconds),
    num("measured", "measured", seconds), text("function", "function")] },
  splits: { title: "Apart", rows: () => report.splits, columns: [
    ["segments", (s) => el("span", "", placeLink(s.first), " and ", placeLink(s.second)), (s) => s.first, "mono"],
    text("reason", "reason"), ["why they are not one", (s) => s.path.length ? splitPath(s) : s.text, (s) => s.text, "wide"]] },
  plans: { title: "Plans", rows: () => report.plans, columns: [
    ["plan", (p) => el("span", "", p.name, p.shipped ? el("b", "good", " ✓ kept") : null), (p) => p.name],
    num("segments", "segments", String), num("predicted", "predicted", seconds), num("measured", "measured", seconds),
    ["noise", (p) => p.noise === null ? "?" : `± ${percent(p.noise)}`, (p) => p.noise, "n"]] },
  counterfactuals: { title: "What if", rows: () => report.counterfactuals, columns: [
    ["if it took", (c) => el("span", "mono", c.op), (c) => c.op], ["vendor", (c) => chip(c.vendor), (c) => c.vendor],
    num("ops", "count", String), ["segments", (c) => `${c.segments} → ${c.segments_after}`, (c) => c.segments_after, "n"],
    ["crossing", (c) => `${size(c.border_bytes)} → ${size(c.border_bytes_after)}`, (c) => c.border_bytes_after, "n"],
    num("saved", "gain", seconds), text("in words", "text", "wide")] },
};
const EMPTY = {
  segments: "No vendor got anything: everything runs on the host.",
  reasons: "Nothing was refused.", borders: "Nothing crosses a border.",
  splits: "No two neighbouring segments of one vendor.", plans: "No plans were compared.",
  counterfactuals: "Not asked for: byoc partition --what-if computes them.", ops: "No op fits.",
};
const sorting = {};

const fillTable = (kind) => {
  const { title, rows, columns } = TABLES[kind];
  let found = rows();
  // A column that nothing is known of is left out.
  const shown = columns.filter(([, , key]) => found.some((r) => key(r) !== null && key(r) !== undefined));
  const root = el("div", "tables", el("h2", "", `${title} (${found.length.toLocaleString("en")})`));
  byId("view-table").replaceChildren(root);
  if (!found.length) return root.append(el("p", "empty", EMPTY[kind]));
  const sort = sorting[kind];
  if (sort) {
    const key = columns.find(([name]) => name === sort.name)[2];
    found = [...found].sort((a, b) => {
      const p = key(a), q = key(b);
      if (p === q) return 0;
      if (p === null || p === undefined) return 1;
      if (q === null || q === undefined) return -1;
      return (p < q ? -1 : 1) * sort.way;
    });
  }
  const row = el("tr");
  for (const [name, , , cls] of shown) {
    const on = sort && sort.name === name;
    const cell = el("th", cls && cls.includes("n") && cls === "n" ? "n" : "", button(name + (on ? (sort.way > 0 ? " ↑" : " ↓") : ""), () => {
      sorting[kind] = { name, way: on ? -sort.way : cls === "n" ? -1 : 1 };
      fillTable(kind);
    }, ""));
    cell.setAttribute("aria-sort", on ? (sort.way > 0 ? "ascending" : "descending") : "none");
    row.append(cell);
  }
  const body = el("tbody");
  root.append(el("div", "scroll", el("table", "", el("thead", "", row), body)));
  let at = 0;
  const more = button("", () => add(), "more");
  const add = () => {
    const part = document.createDocumentFragment();
    for (const r of found.slice(at, at + PAGE)) {
      const line = el("tr");
      for (const [, cell, , cls] of shown) line.append(el("td", cls, cell(r)));
      part.append(line);
    }
    body.append(part);
    at = Math.min(at + PAGE, found.length);
    more.textContent = `Show ${Math.min(PAGE, found.length - at)} more of ${found.length - at}`;
    more.hidden = at === found.length;
  };
  add();
  root.append(more);
};
