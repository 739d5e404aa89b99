// Beside the picture: the whole report, one block or one op.

const section = (title, ...children) => {
  const kept = children.flat().filter(Boolean);
  return kept.length ? [el("h3", "", title), ...kept] : [];
};
const facts = (pairs) => {
  const list = el("dl");
  for (const [name, value] of pairs)
    if (value !== null && value !== undefined && value !== "") list.append(el("dt", "", name), el("dd", "", value));
  return list;
};
const card = (value, label) => el("div", "card", el("b", "", value), el("span", "", label));
const opLink = (op) => button(`${op.op} · ${op.name}`, () => go({ op: op.index }));
const placeLink = (name) => segmentOf.has(name) ? button(name, () => go({ segment: name })) : name;
const note = (text, cls = "") => el("p", `note ${cls}`, text);
const some = (items, make, most, rest) => {
  const list = el("ul");
  for (const item of items.slice(0, most)) list.append(el("li", "", make(item)));
  if (items.length > most) list.append(el("li", "dim small", rest ? rest(items.length - most)
                                                            : `… and ${items.length - most} more`));
  return list;
};
const byCount = (values) => {
  const found = new Map();
  for (const v of values) found.set(v, (found.get(v) || 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1]);
};
const opNamed = new Map(ops.map((op) => [`${op.op}\n${op.name}`, op]));
const splitPath = (split) => {
  const line = el("div", "path");
  split.path.forEach(([op, name, place], k) => {
    if (k) line.append(el("span", "dim", "→"));
    const found = opNamed.get(`${op}\n${name}`);
    const step = el("span", "step", found ? button(`${op} · ${name}`, () => go({ op: found.index })) : `${op} ${name}`);
    if (place) step.append(el("span", "dim", ` ${place}`));
    line.append(step);
  });
  return line;
};
const splitNote = (split) => {
  const head = el("div", "", placeLink(split.first), " and ", placeLink(split.second));
  const why = { path: "a path leaves and comes back", limit: "the search for a path was given up",
                depth: "readers of one value on different depths", choice: "kept apart by the placement" };
  head.append(el("span", "dim", ` — ${why[split.reason] || split.reason}`));
  return el("div", "note", head, split.path.length ? splitPath(split) : el("div", "small dim", split.text));
};
const head = (title, ...chips) =>
  el("div", "", el("div", "top", el("h2", "", title), button("✕", () => go({}), "close")),
    el("div", "", ...chips));

const overview = () => {
  const c = report.coverage, shipped = report.plans.find((p) => p.shipped);
  const parts = [el("h2", "", "The whole model")];
  const cards = el("div", "cards", card(percent(c.flops), "of FLOPs offloaded"),
    card(percent(c.ops), "of ops offloaded"), card(report.segments.length.toLocaleString("en"), "segments"),
    card(ops.length.toLocaleString("en"), "ops"));
  if (shipped && (shipped.measured ?? shipped.predicted) !== null)
    cards.append(card(seconds(shipped.measured ?? shipped.predicted), shipped.measured === null ? "predicted" : "measured"));
  parts.push(cards);
  const bar = el("div", "bar"), places = byCount(ops.map((op) => op.place));
  for (const [place, n] of places) {
    const piece = el("div");
    piece.style.flex = n;
    piece.dataset.place = place;
    piece.style.background = colour(place);
    piece.title = `${place}: ${plural(n, "op")}`;
    bar.append(piece);
  }
  parts.push(bar, some(places, ([place, n]) => el("span", "", chip(place), ` ${plural(n, "op")}`), 12));
  parts.push(facts([["placement", report.placement], ["vendors", report.vendors.join(", ") || "none"]]));
  parts.push(...section("Warnings", report.warnings.map((w) => note(w, "bad"))));
  parts.push(...section("Advice", report.advice.map((w) => note(w, "good"))));
  parts.push(...section("What if", report.counterfactuals.slice(0, 6).map((c) => note(c.text, c.gain > 0 ? "good" : ""))));
  parts.push(...section("Why ops are on the host", report.reasons.length
    ? some(report.reasons, (r) => el("span", "", el("b", "", `${r.count} `),
        button(r.ops.slice(0, 3).join(", ") + (r.ops.length > 3 ? ", …" : ""), () => go({ find: r.reason })),
        el("div", "small dim", `${r.vendor}: ${r.reason}`)), 8) : null));
  parts.push(...section("Segments apart", report.splits.length
    ? [...report.splits.slice(0, 4).map(splitNote), report.splits.length > 4
        ? button(`all ${report.splits.length}`, () => go({ tab: "splits" })) : null] : null));
  return parts;
};

const blockPanel = (b) => {
  const s = segmentOf.get(b.name), inside = b.ops.map((k) => ops[k]);
  const parts = [head(b.name, chip(b.place))];
  if (s) {
    parts.push(facts([["function", s.function], ["processor", s.processor],
      ["ops", `${s.ops} in ${plural(s.composites, "composite")}`], ["FLOPs", count(s.flops)],
      ["weights", size(s.weight_bytes)], ["in", `${plural(s.inputs, "tensor")}, ${size(s.input_bytes)}`],
      ["out", `${plural(s.outputs, "tensor")}, ${size(s.output_bytes)}`],
      ["predicted", s.predicted === null ? null : seconds(s.predicted)],
      ["measured", s.measured === null ? null : seconds(s.measured)],
      ["on the host", s.on_host === null ? null : seconds(s.on_host)]]));
    const borders = report.borders.filter((x) => x.source === b.name || x.target === b.name);
    parts.push(...section("Borders", borders.length ? some(borders, (x) => el("span", "",
      placeLink(x.source), " → ", placeLink(x.target),
      el("span", "dim", ` ${plural(x.tensors, "tensor")}, ${size(x.bytes)}` +
        (x.predicted === null ? "" : `, ${seconds(x.predicted)}`))), 12) : null));
    parts.push(...section("Why it ends here",
      report.splits.filter((x) => x.first === b.name || x.second === b.name).slice(0, 6).map(splitNote)));
  } else {
    const flops = inside.reduce((a, op) => a === null || op.flops === null ? null : a + op.flops, 0);
    parts.push(facts([["function", inside[0].function], ["ops", inside.length], ["FLOPs", count(flops)]]));
    const reasons = byCount(inside.flatMap((op) => op.refusals.map((r) => `${r.vendor}: ${r.reason}`)));
    parts.push(...section("Why these are on the host",
      reasons.length ? some(reasons, ([r, n]) => el("span", "", el("b", "", `${n} `), r), 10) : null));
  }
  parts.push(...section("Kinds of op", some(byCount(inside.map((op) => op.op)), ([op, n]) => `${n} ${op}`, 8)));
  parts.push(...section(`Ops (${inside.length})`, some(inside, opLink, 150,
    (n) => button(`${n} more in the table`, () => go({ tab: "ops", find: b.name })))));
  return parts;
};

const MARK = { taken: "✓", offered: "○", refused: "✕" };
const verdictsOf = (op) => report.vendors.map((vendor) => {
  const told = op.verdicts.find((v) => v.vendor === vendor);
  if (told) return told;
  const refused = op.refusals.find((r) => r.vendor === vendor);
  if (refused) return { ...refused, kind: "refused", cost: null };
  return vendor === op.place ? { vendor, kind: "taken", pattern: op.pattern || "", reason: "", cost: op.cost } : null;
}).filter(Boolean);
const verdict = (v) => el("div", "verdict", el("span", `mark ${v.kind}`, MARK[v.kind] || "·"),
  el("span", "", el("b", "", v.vendor), ` ${v.kind}`, v.pattern ? el("span", "mono dim", ` ${v.pattern}`) : null,
    v.cost === null ? null : el("span", "dim", ` ${seconds(v.cost)}`),
    v.reason ? el("div", "small dim", v.reason) : null));

const opPanel = (op) => {
  const b = blocks[op.block];
  const parts = [head(op.op, chip(op.place), " ", button(b.name, () => go({ segment: b.name })))];
  parts.push(el("p", "mono", op.name));
  parts.push(facts([["number", `#${op.index}`], ["function", op.function], ["result", op.type],
    ["pattern", op.pattern], ["FLOPs", count(op.flops)], ["bytes", size(op.bytes)],
    ["cost", op.cost === null ? null : `${seconds(op.cost)} predicted`]]));
  parts.push(...section("Verdicts", verdictsOf(op).map(verdict)));
  parts.push(...section("Reads", op.reads.length ? some(op.reads, (k) => opLink(ops[k]), 12) : null));
  parts.push(...section("Read by", op.readers.length ? some(op.readers, (k) => opLink(ops[k]), 12) : null));
  const near = report.splits.filter((x) => x.path.some(([kind, name]) => kind === op.op && name === op.name));
  parts.push(...section("Keeps apart", near.slice(0, 4).map(splitNote)));
  return parts;
};

const fillPanel = () => {
  const op = ops[state.op], b = blocks[state.block];
  byId("panel").replaceChildren(...(op ? opPanel(op) : b ? blockPanel(b) : overview()));
  byId("panel").scrollTop = 0;
};
