// What is shown is in the address: #tab=ops&find=resize, #segment=dnnl_0, #op=17, #block=host 3,
// #tab=timeline&request=0&task=12.

const VIEWS = [["timeline", "Timeline", null], ["tasks", "Tasks", taskRows.length], ["graph", "Graph", null], ["segments", "Segments", report.segments.length],
  ["ops", "Ops", ops.length], ["reasons", "Reasons", report.reasons.length],
  ["borders", "Borders", report.borders.length], ["splits", "Apart", report.splits.length],
  ["plans", "Plans", report.plans.length], ["counterfactuals", "What if", report.counterfactuals.length]]
  .filter(([name]) => name === "timeline" || name === "tasks" ? run : !run || ops.length);
const FIRST = run ? "timeline" : "graph";
let tab = FIRST;
const go = (where) => {
  const old = new URLSearchParams(location.hash.slice(1)), next = new URLSearchParams();
  for (const key of ["find", "place"])
    if (!(key in where) && old.get(key)) next.set(key, old.get(key));
  for (const [key, value] of Object.entries(where)) if (value !== "" && value !== null) next.set(key, value);
  const hash = "#" + next.toString().replace(/\+/g, "%20");
  if (hash === location.hash || (hash === "#" && !location.hash)) follow();
  else location.hash = hash;
};

// Words are found in everything that is said of an op; "host 3" and segments' names count too.
let texts = null;
const search = (words, place) => {
  if (!words && !place) { state.hits = null; return; }
  texts = texts || ops.map((op) => [op.op, op.name, op.place, op.segment, blocks[op.block].name, op.pattern,
    op.type, op.function, `#${op.index}`, ...op.refusals.map((r) => `${r.vendor} ${r.reason}`),
    ...op.verdicts.map((v) => `${v.vendor} ${v.kind} ${v.reason}`)].join("\n").toLowerCase());
  const whole = words.trim().toLowerCase(), parts = whole.split(/\s+/).filter(Boolean);
  let found = ops.filter((op) => (!place || op.place === place) && texts[op.k].includes(whole));
  if (!found.length)
    found = ops.filter((op) => (!place || op.place === place) && parts.every((w) => texts[op.k].includes(w)));
  state.hits = { ops: new Set(found.map((op) => op.k)), blocks: new Set(found.map((op) => op.block)) };
};

const follow = () => {
  const at = new URLSearchParams(location.hash.slice(1));
  const inGraph = ["op", "segment", "block"].some((key) => at.has(key));
  tab = VIEWS.some(([name]) => name === at.get("tab")) ? at.get("tab") : inGraph ? "graph" : FIRST;
  const find = at.get("find") || "", place = at.get("place") || "";
  if (byId("find").value !== find) byId("find").value = find;
  byId("place").value = place;
  const before = `${state.find}|${state.place}`;
  search(find, place);
  searchTasks(find, place);
  state.find = find;
  state.place = place;
  const hits = tab === "timeline" || tab === "tasks" ? state.tasks : state.hits && state.hits.ops;
  byId("hits").textContent = hits ? `${hits.size.toLocaleString("en")} found` : "";
  const op = at.has("op") ? position.get(Number(at.get("op"))) : undefined;
  const block = blockOf.get(at.get("segment") || at.get("block"));
  const moved = state.op !== (op ?? -1) || state.block !== (block ? block.k : -1);
  state.op = op ?? -1;
  state.block = op !== undefined ? ops[op].block : block ? block.k : -1;
  for (const node of byId("tabs").children) node.setAttribute("aria-selected", String(node.dataset.tab === tab));
  byId("view-graph").hidden = tab !== "graph";
  byId("view-timeline").hidden = tab !== "timeline";
  byId("view-table").hidden = tab === "graph" || tab === "timeline";
  if (tab === "graph") {
    resize();
    if (state.op >= 0) { if (moved && !inSight(ops[op], OP_W, OP_H)) showOp(ops[op]); }
    else if (block) { if (moved && (!inSight(block, 1, 1) || view.s < OP_BOX)) showBlock(block, true); }
    else if (state.hits && before !== `${find}|${place}` && state.hits.ops.size) showHits();
    fillPanel();
    redraw();
  } else if (tab === "timeline") followTimes(at);
  else fillTable(tab);
  leaveCheck();
};
const inSight = (o, w, h) => view.s >= OP_BOX && o.x >= view.x && o.y >= view.y &&
  o.x + w <= view.x + view.w / view.s && o.y + h <= view.y + view.h / view.s;
const showHits = () => {
  let left = Infinity, top = Infinity, right = -Infinity, low = -Infinity;
  for (const k of state.hits.ops) {
    const op = ops[k];
    left = Math.min(left, op.x); top = Math.min(top, op.y);
    right = Math.max(right, op.x + OP_W); low = Math.max(low, op.y + OP_H);
  }
  show(left - 40, top - 40, right - left + 80, low - top + 80);
};
// n and p: through the hits, or else through the blocks.
const step = (way) => {
  if (state.hits && state.hits.ops.size) {
    const list = [...state.hits.ops], at = list.indexOf(state.op);
    go({ op: ops[list[(at + way + list.length) % list.length]].index });
  } else if (blocks.length) {
    const next = (state.block + way + blocks.length) % blocks.length;
    go(segmentOf.has(blocks[next].name) ? { segment: blocks[next].name } : { block: blocks[next].name });
  }
};
const select = ({ op, block }) =>
  go(op ? { op: op.index } : !block ? {} : segmentOf.has(block.name) ? { segment: block.name } : { block: block.name });

// The canvas: wheel and buttons zoom, dragging moves, a click selects, a double click opens.
let drag = null;
const local = (event) => {
  const at = canvas.getBoundingClientRect();
  return [event.clientX - at.left, event.clientY - at.top];
};
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomAt(...local(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
}, { passive: false });
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  drag = { x: event.clientX, y: event.clientY, moved: false };
});
canvas.addEventListener("pointermove", (event) => {
  if (drag) {
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    drag = { x: event.clientX, y: event.clientY, moved: true };
    canvas.classList.add("drag");
    view.x -= dx / view.s;
    view.y -= dy / view.s;
    byId("tip").hidden = true;
    return redraw();
  }
  const [x, y] = local(event), { op, block } = under(x, y), tip = byId("tip");
  canvas.classList.toggle("over", Boolean(op || block));
  tip.hidden = !(op || block);
  if (tip.hidden) return;
  tip.replaceChildren(el("b", "", op ? op.op : block.name), el("span", "", op
    ? `${op.name} — ${op.segment || op.place}${op.cost === null ? "" : `, ${seconds(op.cost)}`}`
    : `${plural(block.ops.length, "op")} on ${block.place}`));
  tip.style.left = `${Math.max(4, Math.min(x + 14, view.w - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, view.h - tip.offsetHeight - 8))}px`;
});
canvas.addEventListener("pointerup", (event) => {
  const moved = drag && drag.moved;
  drag = null;
  canvas.classList.remove("drag");
  if (!moved) select(under(...local(event)));
});
canvas.addEventListener("pointercancel", () => { drag = null; canvas.classList.remove("drag"); });
canvas.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
canvas.addEventListener("dblclick", (event) => {
  const { op, block } = under(...local(event));
  if (op) showOp(op); else if (block) showBlock(block, true); else showAll();
});
const KEYS = {
  ArrowLeft: () => { view.x -= 90 / view.s; redraw(); }, ArrowRight: () => { view.x += 90 / view.s; redraw(); },
  ArrowUp: () => { view.y -= 90 / view.s; redraw(); }, ArrowDown: () => { view.y += 90 / view.s; redraw(); },
  "+": () => zoomAt(view.w / 2, view.h / 2, 1.35), "=": () => zoomAt(view.w / 2, view.h / 2, 1.35),
  "-": () => zoomAt(view.w / 2, view.h / 2, 1 / 1.35), 0: showAll, n: () => step(1), p: () => step(-1),
  Enter: () => { if (ops[state.op]) showOp(ops[state.op]); else if (blocks[state.block]) showBlock(blocks[state.block], true); },
};
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
  if (event.key === "Escape") {
    if (typing) { byId("find").value = ""; go({ tab, find: null, place: null }); (tab === "timeline" ? strip : canvas).focus(); }
    else if (tab === "timeline") go({ tab });
    else if (state.op >= 0) select({ op: null, block: blocks[state.block] });
    else go({ find: null, place: null });
  } else if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("find").focus();
  }
});
byId("zoom-in").addEventListener("click", KEYS["+"]);
byId("zoom-out").addEventListener("click", KEYS["-"]);
byId("zoom-all").addEventListener("click", showAll);

let timer = 0;
const searched = () => go({ tab: tab === FIRST ? null : tab, find: byId("find").value, place: byId("place").value });
byId("find").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(searched, 150); });
byId("place").addEventListener("change", searched);
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  if (tab === "graph") step(1);
  else if (tab === "timeline") stepSpan(1);
});

const setTheme = (name) => {
  document.documentElement.dataset.theme = name;
  readTheme();
  for (const node of document.querySelectorAll("[data-place]")) node.style.background = colour(node.dataset.place);
  redraw();
  redrawTimes();
};
byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
const prefers = window.matchMedia("(prefers-color-scheme: dark)");
prefers.addEventListener("change", () => setTheme(prefers.matches ? "dark" : "light"));

// What this page did, for tests: written when all that the address asks for is drawn.
const leaveCheck = () => {
  if (tab === "graph") draw();
  if (tab === "timeline") drawTimes();
  byId("check").textContent = JSON.stringify({ tab, drawn, errors, zoom: view.s, ops: ops.length,
    blocks: blocks.length, links: links.length, op: state.op, block: state.block,
    hits: state.hits ? state.hits.ops.size : null, lit, task: state.span ? state.span.task.task : null, ms: Math.round(performance.now()) });
};

if (run && !ops.length) {
  document.title = document.querySelector("h1").textContent = "Profile";
  byId("find").placeholder = "Find: task, place, source ( / )";
}
for (const [name, title, n] of VIEWS) {
  const node = button(title, () => go({ tab: name === FIRST ? null : name }), "");
  node.dataset.tab = name;
  node.setAttribute("role", "tab");
  if (n !== null) node.append(el("span", "n", n.toLocaleString("en")));
  byId("tabs").append(node);
}
for (const place of ["", ...places, "host"]) {
  const option = el("option", "", place || "everywhere");
  option.value = place;
  byId("place").append(option);
}
for (const [place, n] of byCount(ops.map((op) => op.place)))
  byId("legend").append(chip(place, `${place} · ${n.toLocaleString("en")}`));
new ResizeObserver(() => { if (tab === "graph") { resize(); redraw(); } }).observe(canvas);
window.addEventListener("hashchange", follow);
setTheme(prefers.matches ? "dark" : "light");
resize();
showAll();
follow();
