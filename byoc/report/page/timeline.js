// The timeline: one row per processor, time to the right. Only what is in sight is drawn; where many
// tasks share a pixel, it is filled as high as they fill the time.
//
//   cpu   ▐███▌▐█████▌┄┄┄┄┄▐████▌     bars: tasks, coloured by place, outlined on the critical path
//   npu         ╰──▶▐██████▌───╯      arrows: what crosses between processors; ─ before a bar: it
//   path  ▐███▌     ▐██████▌▐████▌    waited although all it reads was there

const strip = byId("times"), pen = strip.getContext("2d");
const time = { from: 0, to: 1, w: 1, h: 1, top: 0 };
const AXIS = 26, FLIGHT = 7, GAP = 10, WAIT = 4, NOTE = 14, PATH = 16;
let bar = 26;                                         // higher where there is room
let lit = { tasks: 0, joined: 0, arrows: 0, path: 0 };
const gutter = () => time.w < 620 ? 74 : 150;
const toX = (ns) => gutter() + (ns - time.from) / (time.to - time.from) * (time.w - gutter());
const toTime = (x) => time.from + (x - gutter()) / (time.w - gutter()) * (time.to - time.from);
const laneHeight = () => WAIT + bar + NOTE;
const flightsHeight = () => Math.min(flightLanes, 8) * FLIGHT + GAP;
const rowTop = (row) => {
  let y = AXIS + flightsHeight() + GAP;
  for (const other of rows) {
    if (other === row) break;
    y += other.lanes.length * laneHeight() + GAP;
  }
  return y;
};
const pathTop = () => rowTop(null);
const wholeHeight = () => pathTop() + PATH + 2 * GAP;
const barTop = (span) => span.row.top + span.lane * laneHeight() + WAIT;

const shorten = (words, room, font) => {
  const keep = ctx.font;
  const fits = fit(words, room, font);                // measured with the graph's canvas
  ctx.font = keep;
  return fits.length < Math.min(5, words.length) ? "" : fits;
};
const SMALL = `11px ${FONT}`, MIDDLE = `600 12px ${FONT}`;

const drawTimes = () => {
  if (!run) return;
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, time.w, time.h);
  lit = { tasks: 0, joined: 0, arrows: 0, path: 0 };
  for (const row of rows) row.top = rowTop(row);
  pen.textBaseline = "middle";
  drawAxis();
  pen.save();
  pen.beginPath();
  pen.rect(gutter(), 0, time.w - gutter(), time.h);
  pen.clip();
  drawFlights();
  for (const row of rows) drawRow(row);
  drawPath();
  drawArrows();
  pen.restore();
  drawGutter();
};

// A moment, with as many digits as tell it from the next step.
const atTime = (ns, step) => {
  const far = Math.max(Math.abs(time.from), Math.abs(time.to));
  const [unit, scale] = far >= 1e9 ? ["s", 1e9] : far >= 1e6 ? ["ms", 1e6] : ["µs", 1e3];
  const digits = Math.max(0, -Math.floor(Math.log10(step / scale) + 1e-9));
  return `${(ns / scale).toFixed(digits)} ${unit}`;
};
const drawAxis = () => {
  const width = time.to - time.from, raw = width / Math.max(2, (time.w - gutter()) / 110);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  pen.font = SMALL;
  pen.textAlign = "left";
  pen.fillStyle = theme.dim;
  pen.strokeStyle = theme.line;
  pen.lineWidth = 1;
  for (let at = Math.ceil(time.from / step) * step; at <= time.to; at += step) {
    const x = Math.round(toX(at)) + 0.5;
    pen.beginPath();
    pen.moveTo(x, AXIS - 8);
    pen.lineTo(x, time.h);
    pen.stroke();
    const label = atTime(at, step);
    if (x + pen.measureText(label).width + 6 < time.w) pen.fillText(label, x + 4, AXIS / 2);
  }
};

const drawFlights = () => {
  flights.forEach((f) => {
    if (f.lane >= 8 || f.end < time.from || f.submitted > time.to) return;
    const y = AXIS + f.lane * FLIGHT, x = toX(f.submitted), middle = toX(f.begin), end = toX(f.end);
    pen.fillStyle = theme.line;
    pen.fillRect(x, y + 1, Math.max(1, middle - x), FLIGHT - 2);
    pen.fillStyle = theme.faint;
    pen.fillRect(middle, y + 1, Math.max(1, end - middle), FLIGHT - 2);
  });
};

// The first span that may reach into sight: starts are sorted, lengths are bounded.
const firstInSight = (row) => {
  let low = 0, high = row.spans.length;
  const least = time.from - row.longest;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (row.spans[mid].start < least) low = mid + 1; else high = mid;
  }
  return low;
};
// Tasks narrower than a pixel: what they fill of it, stacked by place.
const drawPixel = (lane, pixel) => {
  if (!pixel.at) return;
  let y = lane + bar;
  for (const [place, ns] of pixel.of) {
    const high = Math.min(y - lane, ns / ((time.to - time.from) / (time.w - gutter())) * bar);
    pen.fillStyle = theme.of[place] || theme.dim;
    pen.fillRect(pixel.at, y - high, 1, high);
    y -= high;
  }
  pixel.at = 0;
};
const drawRow = (row) => {
  pen.fillStyle = theme.paper;
  pen.fillRect(gutter(), row.top, time.w, row.lanes.length * laneHeight());
  const pixels = row.lanes.map(() => ({ at: 0, of: new Map() }));
  for (let k = firstInSight(row); k < row.spans.length; k++) {
    const span = row.spans[k];
    if (span.start - span.waited > time.to) break;
    if (span.stop < time.from) continue;
    const x = toX(span.start), w = toX(span.stop) - x, y = barTop(span), chosen = state.span === span;
    lit.tasks += 1;
    if (w < 1 && !chosen) {
      if (state.tasks && !state.tasks.has(span)) continue;
      const pixel = pixels[span.lane], place = placeOf(span.task), at = Math.max(1, Math.floor(x));
      if (pixel.at !== at) { drawPixel(y, pixel); pixel.at = at; pixel.of = new Map(); }
      pixel.of.set(place, (pixel.of.get(place) || 0) + span.length);
      lit.joined += 1;
      continue;
    }
    pen.globalAlpha = state.tasks && !state.tasks.has(span) ? 0.15 : 1;
    drawSpan(span, x, w, y, chosen);
    pen.globalAlpha = 1;
  }
  pixels.forEach((pixel, lane) => drawPixel(row.top + lane * laneHeight() + WAIT, pixel));
};
const drawSpan = (span, x, w, y, chosen) => {
  const wait = x - toX(span.start - span.waited);
  if (wait >= 2) {
    pen.fillStyle = theme.hit;
    pen.fillRect(x - wait, y - WAIT, wait, 2);
    pen.fillRect(x - wait, y - WAIT, 1.5, WAIT + 2);
  }
  const left = Math.max(x, gutter() - 4), right = Math.min(x + w, time.w + 4), width = Math.max(1, right - left);
  pen.fillStyle = theme.of[placeOf(span.task)] || theme.dim;
  pen.beginPath();
  pen.roundRect(left, y, width > 3 ? width - 1 : width, bar, Math.min(4, width / 3));
  pen.fill();
  if (span.critical && width > 4) {
    pen.lineWidth = width > 14 ? 2 : 1;
    pen.strokeStyle = theme.ink;
    pen.stroke();
  }
  if (chosen) {
    pen.lineWidth = 3;
    pen.strokeStyle = theme.focus;
    pen.strokeRect(left - 2.5, y - 2.5, width + 4, bar + 5);
  }
  if (width < 26) return;
  const room = width - 12, start = Math.max(left, gutter()) + 6;
  const long = nano(span.length), name = shorten(span.task.name, room, MIDDLE);
  pen.textAlign = "left";
  pen.font = MIDDLE;
  pen.fillStyle = isDark() ? "#10141b" : "#ffffff";
  pen.fillText(name, start, y + bar / 2 + 0.5);
  const used = pen.measureText(name).width + 10;
  pen.font = SMALL;
  if (name === span.task.name && used + pen.measureText(long).width < room) {
    pen.globalAlpha *= 0.85;
    pen.fillText(long, start + used, y + bar / 2 + 0.5);
    pen.globalAlpha /= 0.85;
  }
  if (span.task.border_bytes) {
    const note = `▸ ${size(span.task.border_bytes)}`;
    if (shorten(note, width, SMALL) !== note) return;
    pen.fillStyle = theme.dim;
    pen.fillText(note, start, y + bar + NOTE / 2);
  }
};

const drawPath = () => {
  const y = pathTop();
  pen.fillStyle = theme.paper;
  pen.fillRect(gutter(), y, time.w, PATH);
  let filled = -1;
  for (const span of critical) {
    if (span.stop < time.from || span.start > time.to) continue;
    lit.path += 1;
    const x = toX(span.start), end = toX(span.stop);
    if (end <= filled) continue;
    const at = Math.max(x, filled);
    pen.fillStyle = theme.of[placeOf(span.task)] || theme.dim;
    pen.fillRect(at, y, Math.max(1, end - at - (end - at > 4 ? 1 : 0)), PATH);
    filled = Math.max(at + 1, end);
  }
};

// From what was read on another processor; of the chosen task, from and to everything.
const arrow = (from, to, colour, width) => {
  const x1 = toX(from.stop), x2 = toX(to.start);
  if (Math.max(x1, x2) < gutter() || Math.min(x1, x2) > time.w) return;
  const down = to.row.top > from.row.top, same = to.row === from.row && to.lane === from.lane;
  const y1 = barTop(from) + (same || !down ? 0 : bar), y2 = barTop(to) + (same || down ? 0 : bar);
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x1, y1);
  const bend = same ? -10 : (y2 - y1) / 2;
  pen.bezierCurveTo(x1, y1 + bend, x2, same ? y2 + bend : y2 - bend, x2, y2);
  pen.stroke();
  const way = same || down ? -1 : 1;
  pen.beginPath();
  pen.moveTo(x2, y2);
  pen.lineTo(x2 - 3.5, y2 + way * 6);
  pen.lineTo(x2 + 3.5, y2 + way * 6);
  pen.fill();
  lit.arrows += 1;
};
const MOST_ARROWS = 300;
const drawArrows = () => {
  const found = [];
  for (const row of rows) {
    for (let k = firstInSight(row); k < row.spans.length && found.length <= MOST_ARROWS; k++) {
      const span = row.spans[k];
      if (span.start > time.to) break;
      if (!span.task.border_bytes) continue;
      for (const dep of depsOf(span)) if (dep.row !== span.row) found.push([dep, span]);
    }
  }
  if (found.length <= MOST_ARROWS) for (const [a, b] of found) arrow(a, b, theme.edge, 1.2);
  if (state.span) {
    for (const dep of depsOf(state.span).slice(0, MOST_ARROWS)) arrow(dep, state.span, theme.focus, 2);
    for (const other of readersOf(state.span).slice(0, MOST_ARROWS)) arrow(state.span, other, theme.focus, 2);
  }
};

const drawGutter = () => {
  const wide = gutter() > 100, line = (label, y, font, colour) => {
    pen.font = font;
    pen.fillStyle = colour;
    pen.fillText(shorten(label, gutter() - 14, font), 8, y);
  };
  pen.textAlign = "left";
  line(wide ? "requests" : "req.", AXIS + flightsHeight() / 2 - GAP / 2, SMALL, theme.dim);
  for (const row of rows) {
    line(row.name, row.top + 10, MIDDLE, theme.ink);
    line(`${wide ? "idle " : ""}${percent(1 - row.busy)}`, row.top + 25, SMALL, theme.dim);
    pen.fillStyle = theme.line;
    pen.fillRect(8, row.top + 35, gutter() - 22, 4);
    pen.fillStyle = theme.dim;
    pen.fillRect(8, row.top + 35, (gutter() - 22) * Math.min(1, row.busy), 4);
  }
  line(wide ? "critical path" : "path", pathTop() + PATH / 2, SMALL, theme.dim);
};

// What is told beside it --------------------------------------------------------------------------

const share = (place, part, words) =>
  el("span", "", place ? chip(place) : "", ` ${percent(part)}`, el("span", "dim", ` ${words}`));
const runPanel = () => {
  const parts = [el("h2", "", run.model)];
  const work = critical.reduce((sum, s) => sum + s.length, 0);
  parts.push(el("div", "cards", card(nano(run.end), plural(run.requests.length, "request")),
    card(taskRows.length.toLocaleString("en"), "tasks each"),
    card(nano(work), `in ${plural(critical.length, "task")} on the critical path`),
    card(nano(Math.max(0, run.end - work)), "between those tasks")));
  parts.push(...section("Processors", some(rows, (r) => el("div", "", el("b", "", r.name),
    ` busy ${percent(r.busy)}, idle ${percent(Math.max(0, 1 - r.busy))}`,
    el("div", "small dim", `tasks waited ${nano(r.waited)}; ${size(r.border_bytes)} read at borders`)), 20)));
  const places = new Map();
  for (const s of critical) places.set(placeOf(s.task), (places.get(placeOf(s.task)) || 0) + s.length);
  parts.push(...section("Critical path", some([...places].sort((a, b) => b[1] - a[1]), ([place, ns]) =>
    share(place, ns / (run.end || 1), `${nano(ns)}`), 12)));
  parts.push(...section("Longest tasks", some([...taskRows].sort((a, b) => b.length - a.length), (r) =>
    el("span", "", spanLink(r.group[0]), el("span", "dim", ` ${nano(r.length)}, ${percent(r.length / total)}`),
      r.source.length ? el("div", "small dim mono", r.source[0]) : null), 12,
    (n) => button(`${n} more in the table`, () => go({ tab: "tasks" })))));
  return parts;
};
const spanPanel = (span) => {
  const t = span.task, link = (s) => el("span", "", spanLink(s),
    el("span", "dim", ` ${s.row.name}${elsewhere(span, s) ? ", elsewhere" : ""}, ${nano(s.length)}`));
  const close = button("✕", () => go({ tab: "timeline" }), "close");
  const parts = [el("div", "", el("div", "top", el("h2", "", t.name), close), chip(placeOf(t)),
    segmentOf.has(t.name) ? button("in the graph", () => go({ segment: t.name })) : null)];
  parts.push(facts([["task", `#${t.task}, ${t.kind}`], ["request", String(span.request)],
    ["processor", t.processor], ["began at", nano(span.start)], ["took", nano(span.length)],
    ["waited", nano(span.waited)], ["read at borders", size(t.border_bytes)],
    ["read and written", size(t.nbytes)], ["critical path", span.critical ? "on it" : "not on it"]]));
  parts.push(...section("Reads", depsOf(span).length ? some(depsOf(span), link, 12) : null));
  parts.push(...section("Read by", readersOf(span).length ? some(readersOf(span), link, 12) : null));
  parts.push(...section(`From (${t.source.length})`, t.source.length
    ? some(t.source, (name) => el("span", "mono", name), 60) : null));
  return parts;
};
const fillRun = () => {
  byId("run-panel").replaceChildren(...(state.span ? spanPanel(state.span) : runPanel()));
  byId("run-panel").scrollTop = 0;
};

// Moving about --------------------------------------------------------------------------------------

const sizeTimes = () => {
  const frame = byId("run").getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  time.w = Math.max(200, frame.width);
  const lanes = rows.reduce((sum, row) => sum + row.lanes.length, 0) || 1;
  bar = 26;
  bar = Math.round(Math.min(44, bar + Math.max(0, frame.height - 60 - wholeHeight()) / lanes));
  time.h = Math.max(frame.height - 60, wholeHeight());
  strip.style.height = `${time.h}px`;
  strip.width = Math.round(time.w * ratio);
  strip.height = Math.round(time.h * ratio);
};
let waitingTimes = false;
const redrawTimes = () => {
  if (waitingTimes) return;
  waitingTimes = true;
  requestAnimationFrame(() => { waitingTimes = false; drawTimes(); });
};
const lookAt = (from, to) => {
  const end = run.end || 1, width = Math.min(Math.max(to - from, 20), end * 1.04);
  time.from = Math.min(Math.max(from, -0.02 * end), 1.02 * end - width);
  time.to = time.from + width;
  redrawTimes();
};
const allTimes = () => lookAt(-0.02 * run.end, 1.02 * run.end);
const zoomTimes = (x, factor) => {
  const at = toTime(Math.max(x, gutter())), width = time.to - time.from;
  const next = Math.min(Math.max(width / factor, 20), (run.end || 1) * 1.04);
  lookAt(at - (at - time.from) * next / width, at + (time.to - at) * next / width);
};
const moveTimes = (part) => {
  const by = (time.to - time.from) * part;
  lookAt(time.from + by, time.to + by);
};
const showSpan = (span, near) => {
  const width = near ? Math.max(span.length * 4, 200) : time.to - time.from;
  if (!near && span.start >= time.from && span.stop <= time.to && toX(span.stop) - toX(span.start) > 2) return;
  const wanted = near ? width : Math.min(width, Math.max(span.length * 30, 2000));
  lookAt((span.start + span.stop - wanted) / 2, (span.start + span.stop + wanted) / 2);
};
const spanAt = (x, y) => {
  if (x < gutter()) return null;
  let nearest = null, gap = 4;                        // pixels beside a narrow bar
  for (const row of rows) {
    if (y < row.top || y > row.top + row.lanes.length * laneHeight()) continue;
    for (let k = firstInSight(row); k < row.spans.length; k++) {
      const span = row.spans[k], left = toX(span.start);
      if (left > x + gap) break;
      if (y < barTop(span) - WAIT || y > barTop(span) + bar + NOTE) continue;
      const away = Math.max(left - x, x - toX(span.stop), 0);
      if (away < gap) { gap = away; nearest = span; if (!away) break; }
    }
  }
  return nearest;
};
const stepSpan = (way) => {
  const list = state.tasks ? spans.filter((s) => state.tasks.has(s)) : spans;
  if (!list.length) return;
  const at = list.indexOf(state.span);
  goSpan(list[at < 0 ? (way > 0 ? 0 : list.length - 1) : (at + way + list.length) % list.length]);
};
const TIME_KEYS = {
  ArrowLeft: () => moveTimes(-0.12), ArrowRight: () => moveTimes(0.12),
  "+": () => zoomTimes(time.w / 2, 1.5), "=": () => zoomTimes(time.w / 2, 1.5),
  "-": () => zoomTimes(time.w / 2, 1 / 1.5), 0: allTimes, n: () => stepSpan(1), p: () => stepSpan(-1),
  Enter: () => { if (state.span) showSpan(state.span, true); },
};
if (run) {
  let held = null;
  const place = (event) => {
    const at = strip.getBoundingClientRect();
    return [event.clientX - at.left, event.clientY - at.top];
  };
  strip.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      moveTimes((event.deltaX || event.deltaY) / time.w);
    else zoomTimes(place(event)[0], Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
  }, { passive: false });
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    held = { x: event.clientX, moved: false };
  });
  strip.addEventListener("pointermove", (event) => {
    const tip = byId("run-tip");
    if (held) {
      const dx = event.clientX - held.x;
      if (!held.moved && Math.abs(dx) < 4) return;
      held = { x: event.clientX, moved: true };
      tip.hidden = true;
      return moveTimes(-dx / (time.w - gutter()));
    }
    const [x, y] = place(event), span = spanAt(x, y);
    strip.classList.toggle("over", Boolean(span));
    tip.hidden = !span;
    if (!span) return;
    const t = span.task;
    tip.replaceChildren(el("b", "", t.name), el("span", "", `${placeOf(t)}, ${nano(span.length)}` +
      (span.waited > 0 ? `, waited ${nano(span.waited)}` : "") +
      (t.border_bytes ? `, ${size(t.border_bytes)} at borders` : "") + (span.critical ? ", critical" : "")));
    tip.style.left = `${Math.max(4, Math.min(x + 14, time.w - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + 16 - byId("run").scrollTop}px`;
  });
  strip.addEventListener("pointerup", (event) => {
    const moved = held && held.moved;
    held = null;
    if (moved) return;
    const span = spanAt(...place(event));
    if (span) goSpan(span); else go({ tab: "timeline" });
  });
  strip.addEventListener("pointercancel", () => { held = null; });
  strip.addEventListener("pointerleave", () => { byId("run-tip").hidden = true; });
  strip.addEventListener("dblclick", (event) => {
    const span = spanAt(...place(event));
    if (span) showSpan(span, true); else allTimes();
  });
  strip.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !TIME_KEYS[event.key]) return;
    event.preventDefault();
    TIME_KEYS[event.key]();
  });
  byId("run-in").addEventListener("click", TIME_KEYS["+"]);
  byId("run-out").addEventListener("click", TIME_KEYS["-"]);
  byId("run-all").addEventListener("click", allTimes);
  for (const [place, n] of byCount(spans.map((s) => placeOf(s.task))))
    byId("run-legend").append(chip(place, `${place} · ${n.toLocaleString("en")}`));
  byId("run-legend").append(el("span", "chip", el("span", "dot framed"), "critical path"),
    el("span", "chip", el("span", "dot waits"), "waited"));
  new ResizeObserver(() => { if (tab === "timeline") { sizeTimes(); drawTimes(); } }).observe(byId("run"));
  time.from = -0.02 * run.end;
  time.to = 1.02 * (run.end || 1);
}
const followTimes = (at) => {
  state.span = spanOf.get(spanKey(Number(at.get("request") || 0), Number(at.get("task")))) || null;
  if (!at.has("task")) state.span = null;
  sizeTimes();
  if (state.span) showSpan(state.span, false);
  fillRun();
  redrawTimes();
};
// Words in a task's name, place, queue or sources.
const searchTasks = (words, place) => {
  state.tasks = null;
  if (!run || (!words && !place)) return;
  const parts = words.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const said = new Map(taskRows.map((r) => [r.group[0].task, [r.name, r.place, r.processor, r.kind, `#${r.task}`,
    ...r.source].join("\n").toLowerCase()]));
  state.tasks = new Set(spans.filter((s) => (!place || placeOf(s.task) === place) &&
    parts.every((w) => said.get(s.task).includes(w))));
};
