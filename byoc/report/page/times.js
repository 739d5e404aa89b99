// A profile's records: every task of every request with its times, the rows it is drawn in.

const run = data.profile;
const spans = [];                                     // one per task and request, by start
const rows = [];                                      // one per processor: its spans, in lanes
const flights = [];                                   // requests, in lanes of their own
let flightLanes = 0;
const nano = (ns) => seconds(ns / 1e9);
// The first lane that is free; lanes hold the end of their last bar.
const inLane = (lanes, start, stop) => {
  let k = lanes.findIndex((end) => end <= start);
  if (k < 0) k = lanes.push(0) - 1;
  lanes[k] = stop;
  return k;
};
const spanKey = (request, task) => `${request}/${task}`;
const spanOf = new Map();
const placeOf = (task) => task.vendor || "host";
const critical = [];
if (run) {
  const tasks = unpack(run.tasks);
  run.requests.forEach((r, request) => {
    r.start.forEach((start, k) => {
      const span = { task: tasks[r.which ? r.which[k] : k], request, start, length: r.length[k],
        stop: start + r.length[k], waited: r.waited[k], critical: false };
      spans.push(span);
      spanOf.set(spanKey(request, span.task.task), span);
      r.start[k] = span;
    });
  });
  for (const [request, k] of run.critical) {
    const span = run.requests[request].start[k];
    span.critical = true;
    critical.push(span);
  }
  spans.sort((a, b) => a.start - b.start || a.request - b.request || a.task.task - b.task.task);
  spans.forEach((span, k) => { span.k = k; });
  const byName = new Map();
  for (const processor of run.processors) {
    const row = { ...processor, spans: [], lanes: [], longest: 0 };
    rows.push(row);
    byName.set(row.name, row);
  }
  for (const span of spans) {
    const row = byName.get(span.task.processor);
    span.row = row;
    // A task that waits for another processor works off its queue meanwhile: bars may overlap.
    span.lane = inLane(row.lanes, span.start, span.stop);
    row.longest = Math.max(row.longest, span.length + span.waited);
    row.spans.push(span);
  }
  const lanes = [];
  run.requests.forEach(({ submitted, begin, end }, request) =>
    flights.push({ request, submitted, begin, end, lane: inLane(lanes, submitted, end) }));
  flightLanes = lanes.length;
}
const depsOf = (span) => span.task.deps.map((dep) => spanOf.get(spanKey(span.request, dep))).filter(Boolean);
let readers = null;                                   // made when first asked for
const readersOf = (span) => {
  if (!readers) {
    readers = new Map();
    for (const s of spans) for (const d of depsOf(s)) {
      if (!readers.has(d)) readers.set(d, []);
      readers.get(d).push(s);
    }
  }
  return readers.get(span) || [];
};
const elsewhere = (span, dep) => dep.row !== span.row || placeOf(dep.task) !== placeOf(span.task);

// Tasks as a table: medians over the requests.
const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const taskRows = (() => {
  const groups = new Map();
  for (const span of spans) {
    if (!groups.has(span.task)) groups.set(span.task, []);
    groups.get(span.task).push(span);
  }
  return [...groups].sort((a, b) => a[0].task - b[0].task).map(([task, group]) => ({
    ...task, group, place: placeOf(task), critical: group.filter((s) => s.critical).length,
    length: middle(group.map((s) => s.length)), waited: middle(group.map((s) => s.waited)) }));
})();
const total = taskRows.reduce((sum, row) => sum + row.length, 0) || 1;
const spanLink = (span) => button(`${span.task.name} · ${span.task.task}`, () => goSpan(span));
const goSpan = (span) => go({ tab: "timeline", request: span.request, task: span.task.task });
if (run) {
  TABLES.tasks = { title: "Tasks", columns: [
    num("#", "task", String), ["task", (r) => spanLink(r.group[0]), (r) => r.name, "mono"],
    ["place", (r) => chip(r.place), (r) => r.place], text("processor", "processor"),
    num("took", "length", nano), ["share", (r) => percent(r.length / total), (r) => r.length, "n"],
    num("waited", "waited", nano), num("read at borders", "border_bytes", size),
    num("read and written", "nbytes", size),
    ["critical", (r) => r.critical ? `in ${r.critical} of ${r.group.length}` : "", (r) => r.critical, "n"],
    ["from", (r) => r.source.join(", "), (r) => r.source.join(", "), "wide mono"]],
    rows: () => state.tasks ? taskRows.filter((r) => r.group.some((s) => state.tasks.has(s))) : taskRows };
  EMPTY.tasks = "No task fits.";
}
