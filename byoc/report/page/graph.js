// The picture: a canvas on which only what is in sight is drawn. Far away, blocks with their names;
// nearer, the ops in them and every edge. World units are those of layout.py.

const canvas = byId("canvas"), ctx = canvas.getContext("2d");
const view = { x: 0, y: 0, s: 1, w: 1, h: 1 };      // world point at the upper left, pixels per unit
const state = { block: -1, op: -1, hits: null, tasks: null, span: null, hover: null };
let theme = {};
const readTheme = () => {
  const css = getComputedStyle(document.documentElement);
  theme = {};
  for (const name of ["ink", "dim", "faint", "line", "paper", "back", "hit", "edge", "focus"])
    theme[name] = css.getPropertyValue(`--${name}`).trim();
  theme.of = {};
  for (const place of [...places, "host"]) theme.of[place] = colour(place);
};

// Edges between blocks: one per pair, with the bytes of the results that cross.
const links = (() => {
  const found = new Map();
  for (const op of ops) {
    const to = new Set(op.readers.map((r) => ops[r].block));
    to.delete(op.block);
    for (const b of to) {
      const key = op.block * blocks.length + b;
      let link = found.get(key);
      if (!link) found.set(key, (link = { a: op.block, b, n: 0, bytes: 0 }));
      const bytes = tensorBytes(op.type);
      link.n += 1;
      link.bytes = bytes === null || link.bytes === null ? null : link.bytes + bytes;
    }
  }
  return [...found.values()];
})();
const linksOf = blocks.map(() => []);
links.forEach((link) => { linksOf[link.a].push(link); linksOf[link.b].push(link); });

const OP_TEXT = 0.33, OP_BOX = 0.2;                  // zoom from which ops have text, are drawn
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const widths = new Map();
// The longest beginning that fits, or the longest end: of a path, the end tells.
const fit = (text, room, font, end = false) => {
  ctx.font = font;
  const key = font + text;
  let w = widths.get(key);
  if (w === undefined) {
    if (widths.size > 60000) widths.clear();
    widths.set(key, (w = ctx.measureText(text).width));
  }
  if (w <= room) return text;
  const n = Math.floor(text.length * room / w) - 1;
  return n < 2 ? "" : end ? "…" + text.slice(-n) : text.slice(0, n) + "…";
};
const seen = (x, y, w, h) =>
  x < view.x + view.w / view.s && x + w > view.x && y < view.y + view.h / view.s && y + h > view.y;
const box = (x, y, w, h, r) => {
  ctx.beginPath();
  ctx.roundRect(x, y, w, h, Math.min(r, w / 2, h / 2));
};
// An edge goes down where it can; across columns, or up, it swings out to the side.
const curve = (x1, y1, x2, y2) => {
  ctx.moveTo(x1, y1);
  const bend = y2 > y1 ? Math.min(Math.max((y2 - y1) / 2, 8), 120) : 60;
  ctx.bezierCurveTo(x1, y1 + bend, x2, y2 - bend, x2, y2);
};

let drawn = { blocks: 0, ops: 0, edges: 0 };
const draw = () => {
  const ratio = window.devicePixelRatio || 1, s = view.s;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = theme.back;
  ctx.fillRect(0, 0, view.w, view.h);
  ctx.setTransform(ratio * s, 0, 0, ratio * s, -view.x * s * ratio, -view.y * s * ratio);
  drawn = { blocks: 0, ops: 0, edges: 0 };
  const near = s >= OP_BOX;
  const shown = blocks.filter((b) => seen(b.x, b.y, b.width, b.height));
  if (!near) drawLinks();
  for (const b of shown) drawBlock(b, near);
  if (near) drawEdges();
  if (near) for (const b of shown) for (const k of b.ops) drawOp(ops[k]);
  drawMarks(near);
  for (const b of shown) drawTitle(b, near);
  if (near && s < 1.6) drawBytes();
};

const blockHits = () => state.hits && state.hits.blocks;
const drawBlock = (b, near) => {
  drawn.blocks += 1;
  const c = theme.of[b.place] || theme.dim, s = view.s;
  const off = state.hits && !blockHits().has(b.k);
  if (!near && b.width * s < 16 && state.block !== b.k) {   // too small for corners and a border
    ctx.globalAlpha = off ? 0.2 : 0.8;
    ctx.fillStyle = c;
    ctx.fillRect(b.x, b.y, b.width, b.height);
    ctx.globalAlpha = 1;
    return;
  }
  box(b.x, b.y, b.width, b.height, 14);
  ctx.globalAlpha = off ? 0.25 : 1;
  ctx.fillStyle = theme.paper;
  ctx.fill();
  ctx.globalAlpha = (near ? (b.place === "host" ? 0.07 : 0.1) : 0.72) * (off ? 0.25 : 1);
  ctx.fillStyle = c;
  ctx.fill();
  ctx.globalAlpha = off ? 0.35 : 1;
  ctx.lineWidth = Math.max(1.2 / s, 1);
  ctx.strokeStyle = c;
  if (b.place === "host" && near) ctx.setLineDash([7, 5]);
  ctx.stroke();
  ctx.setLineDash([]);
  if (state.block === b.k) {
    ctx.lineWidth = Math.max(3.5 / s, 2.5);
    ctx.strokeStyle = theme.focus;
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
};

const drawTitle = (b, near) => {
  const s = view.s, px = Math.min(24, Math.max(13, 12.5 / s));
  const n = plural(b.ops.length, "op");
  if (!near) {
    const room = b.width - 8 / s;
    if (b.height * s < 13 || room * s < 22) return;
    // Smaller letters before a name is cut; a cut name says nothing.
    const at = [12.5, 11, 9.5, 8.5].find((p) => fit(b.name, room, `600 ${p / s}px ${FONT}`) === b.name);
    if (!at) return;
    const name = b.name, px = at / s;
    const two = b.height * s > 34 && fit(n, room, `${px * 0.88}px ${FONT}`) === n;
    ctx.font = `600 ${px}px ${FONT}`;
    ctx.fillStyle = isDark() ? "#10141b" : "#ffffff";
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(name, b.x + b.width / 2, b.y + b.height / 2 - (two ? px * 0.6 : 0));
    if (two) {
      ctx.font = `${px * 0.88}px ${FONT}`;
      ctx.fillText(n, b.x + b.width / 2, b.y + b.height / 2 + px * 0.75);
    }
    return;
  }
  // The title stays in sight while any of the block is.
  const x = Math.max(b.x, view.x) + 16, y = Math.min(Math.max(b.y, view.y), b.y + b.height - 24) + 21;
  const room = Math.min(b.x + b.width, view.x + view.w / s) - x - 8;
  const name = fit(b.name, room, `600 ${px}px ${FONT}`);
  if (!name) return;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  const w = ctx.measureText(name).width;
  const rest = fit(n, room - w - 8, `${px * 0.86}px ${FONT}`);
  if (y > b.y + 22) {                                // over ops: on a plate
    ctx.globalAlpha = 0.9;
    ctx.fillStyle = theme.paper;
    ctx.fillRect(x - 6, y - px, w + (rest ? ctx.measureText(rest).width + 8 : 0) + 12, px * 1.4);
    ctx.globalAlpha = 1;
  }
  ctx.font = `600 ${px}px ${FONT}`;
  ctx.fillStyle = theme.of[b.place] || theme.ink;
  ctx.fillText(name, x, y);
  ctx.font = `${px * 0.86}px ${FONT}`;
  ctx.fillStyle = theme.dim;
  if (rest) ctx.fillText(rest, x + w + 8, y);
};

const drawOp = (op) => {
  if (!seen(op.x, op.y, OP_W, OP_H)) return;
  drawn.ops += 1;
  const s = view.s, c = theme.of[op.place] || theme.dim;
  const hit = state.hits && state.hits.ops.has(op.k), off = state.hits && !hit;
  ctx.globalAlpha = off ? 0.3 : 1;
  box(op.x, op.y, OP_W, OP_H, 7);
  if (s < 0.34) {
    ctx.fillStyle = c;
    ctx.fill();
  } else {
    ctx.fillStyle = theme.paper;
    ctx.fill();
    ctx.lineWidth = 1.1;
    ctx.strokeStyle = c;
    ctx.stroke();
    ctx.fillStyle = c;
    ctx.fillRect(op.x + 5, op.y + 7, 3.5, OP_H - 14);
  }
  if (s >= OP_TEXT) {
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.fillStyle = theme.ink;
    const room = OP_W - 22, two = s >= 0.75;
    const px = two ? 12.5 : Math.min(22, Math.max(12.5, 9.5 / s));
    const kind = fit(op.op.replace(/^nn\./, two ? "nn." : ""), room, `600 ${px}px ${FONT}`);
    ctx.fillText(kind, op.x + 14, op.y + (two ? 15 : OP_H / 2 + px * 0.36));
    if (two) {
      ctx.fillStyle = theme.dim;
      ctx.fillText(fit(op.name, room, `10.5px ${FONT}`, true), op.x + 14, op.y + 28);
    }
  }
  if (hit) {
    ctx.lineWidth = Math.max(2.5, 2 / s);
    ctx.strokeStyle = theme.hit;
    box(op.x - 2, op.y - 2, OP_W + 4, OP_H + 4, 8);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
};

// From op to op. One that skips rows of its column goes round at the side; one that goes up, to the
// next column of a fold, runs in the gap beside the ops.
const opEdge = (p, op) => {
  const x1 = p.x + OP_W / 2, y1 = p.y + OP_H, x2 = op.x + OP_W / 2, y2 = op.y;
  if (y2 <= y1) {
    const lane = op.x + (x2 >= x1 ? -13 : OP_W + 13), down = y1 + 11, up = y2 - 11;
    ctx.moveTo(x1, y1);
    ctx.arcTo(x1, down, lane, down, 8);
    ctx.arcTo(lane, down, lane, up, 8);
    ctx.arcTo(lane, up, x2, up, 8);
    ctx.arcTo(x2, up, x2, y2, 8);
    ctx.lineTo(x2, y2);
  } else if (Math.abs(x2 - x1) < OP_W / 2 && y2 - y1 > OP_H) {
    const x = Math.max(p.x, op.x) + OP_W, bulge = x + Math.min(12 + (y2 - y1) / 16, 24);
    ctx.moveTo(p.x + OP_W, p.y + OP_H / 2);
    ctx.bezierCurveTo(bulge, p.y + OP_H / 2 + 6, bulge, op.y + OP_H / 2 - 6, op.x + OP_W, op.y + OP_H / 2);
  } else curve(x1, y1, x2, y2);
};
const drawEdges = () => {
  const left = view.x, right = view.x + view.w / view.s, top = view.y, low = view.y + view.h / view.s;
  ctx.globalAlpha = state.hits ? 0.3 : 0.75;
  ctx.lineWidth = Math.max(1.1, 0.7 / view.s);
  ctx.strokeStyle = theme.edge;
  let held = 0;
  for (const op of ops)
    for (const k of op.reads) {
      const p = ops[k];
      if (Math.max(op.x, p.x) + OP_W < left || Math.min(op.x, p.x) > right ||
          Math.max(op.y, p.y + OP_H) + 60 < top || Math.min(op.y, p.y) - 60 > low) continue;
      drawn.edges += 1;
      if (!held) ctx.beginPath();
      opEdge(p, op);
      if (++held === CHUNK) { ctx.stroke(); held = 0; }
    }
  if (held) ctx.stroke();
  ctx.globalAlpha = 1;
};
const linkEnds = ({ a, b }) => {
  const p = blocks[a], q = blocks[b];
  return [p.x + p.width / 2, p.y + p.height, q.x + q.width / 2, q.y];
};
const CHUNK = 200;                                   // a path of thousands of curves is slow to fill
const drawLinks = () => {
  const s = view.s, straight = links.length > 2000;
  ctx.globalAlpha = links.length > 4000 ? 0.35 : 0.6;
  ctx.lineWidth = 1.2 / s;
  ctx.strokeStyle = theme.edge;
  let held = 0;
  for (const link of links) {
    const [x1, y1, x2, y2] = linkEnds(link);
    if (!seen(Math.min(x1, x2) - 60, Math.min(y1, y2) - 60,
              Math.abs(x2 - x1) + 120, Math.abs(y2 - y1) + 120)) continue;
    if (Math.abs(x2 - x1) * s < 1.5 && Math.abs(y2 - y1) * s < 1.5) continue;
    drawn.edges += 1;
    if (!held) ctx.beginPath();
    if (straight) { ctx.moveTo(x1, y1); ctx.lineTo(x2, y2); } else curve(x1, y1, x2, y2);
    if (++held === CHUNK) { ctx.stroke(); held = 0; }
  }
  if (held) ctx.stroke();
  ctx.globalAlpha = 1;
};
// What the selection is joined to, and the selection itself, above everything else.
const drawMarks = (near) => {
  const s = view.s, op = ops[state.op];
  ctx.strokeStyle = theme.focus;
  ctx.lineWidth = Math.max(2, 2 / s);
  ctx.beginPath();
  if (op && near) {
    for (const k of op.reads) opEdge(ops[k], op);
    for (const k of op.readers) opEdge(op, ops[k]);
  } else if (!op && state.block >= 0 && !near) {
    for (const link of linksOf[state.block]) curve(...linkEnds(link));
  }
  ctx.stroke();
  if (op) {
    ctx.lineWidth = Math.max(3, 3 / s);
    box(op.x - 3, op.y - 3, OP_W + 6, OP_H + 6, 9);
    ctx.stroke();
  }
};
// Bytes that cross from block to block, where there is room to read them.
const drawBytes = () => {
  const s = view.s, px = 10.5 / Math.min(s, 1);
  if (links.length > 3000 && s < 0.4) return;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.font = `${px}px ${FONT}`;
  for (const link of links) {
    const q = blocks[link.b], p = blocks[link.a];
    if (p.place === q.place || linksOf[link.b].length > 12) continue;
    const into = q.ops.map((k) => ops[k]).find((op) => op.reads.some((r) => ops[r].block === link.a));
    const from = into && into.reads.map((r) => ops[r]).find((r) => r.block === link.a);
    if (!from) continue;
    const x = (from.x + into.x + OP_W) / 2, y = (from.y + OP_H + into.y) / 2;
    if (!seen(x - 40, y - 10, 80, 20)) continue;
    const text = size(link.bytes), w = ctx.measureText(text).width + px;
    box(x - w / 2, y - px * 0.8, w, px * 1.6, px);
    ctx.fillStyle = theme.paper;
    ctx.fill();
    ctx.lineWidth = 1 / s;
    ctx.strokeStyle = theme.line;
    ctx.stroke();
    ctx.fillStyle = theme.dim;
    ctx.fillText(text, x, y);
  }
};

// Moving -------------------------------------------------------------------------------------------

let pending = 0;
const redraw = () => {
  if (!pending) pending = requestAnimationFrame(() => { pending = 0; draw(); });
};
const resize = () => {
  const { width, height } = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  if (!width || !height) return;
  const x = view.x + view.w / view.s / 2, y = view.y + view.h / view.s / 2;
  view.w = width;
  view.h = height;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  centre(x, y, view.s);
};
const minZoom = () =>
  Math.min(1, 0.9 * Math.min(view.w / (data.layout.width + 1), view.h / (data.layout.height + 1)));
const centre = (x, y, s = view.s) => {
  view.s = Math.min(Math.max(s, minZoom() * 0.7), 3);
  view.x = x - view.w / view.s / 2;
  view.y = y - view.h / view.s / 2;
  redraw();
};
const zoomAt = (px, py, factor) => {
  const x = view.x + px / view.s, y = view.y + py / view.s;
  view.s = Math.min(Math.max(view.s * factor, minZoom() * 0.7), 3);
  view.x = x - px / view.s;
  view.y = y - py / view.s;
  redraw();
};
const show = (x, y, w, h, most = 1) =>
  centre(x + w / 2, y + h / 2, Math.min(most, 0.92 * Math.min(view.w / w, view.h / h)));
const showAll = () => show(0, 0, data.layout.width || 1, data.layout.height || 1);
const showBlock = (b, open = false) => {
  if (!open) return show(b.x, b.y, b.width, b.height, 1.1);
  // A large block opens at its first ops, at a zoom that can be read.
  const s = Math.min(1.1, Math.max(0.6, 0.92 * Math.min(view.w / b.width, view.h / b.height)));
  const w = Math.min(b.width, 0.92 * view.w / s), h = Math.min(b.height, 0.92 * view.h / s);
  const op = ops[b.ops[0]];
  const x = b.width > w ? Math.min(Math.max(op.x + OP_W / 2 - w / 2, b.x), b.x + b.width - w) : b.x;
  centre(x + w / 2, b.y + h / 2, s);
};
const showOp = (op) => centre(op.x + OP_W / 2, op.y + OP_H / 2, Math.max(view.s, 0.85));

// What is under a point of the canvas: an op, a block, or nothing.
const under = (px, py) => {
  const x = view.x + px / view.s, y = view.y + py / view.s;
  const inside = (o, w, h) => x >= o.x && x < o.x + w && y >= o.y && y < o.y + h;
  const block = blocks.find((b) => inside(b, b.width, b.height));
  if (!block) return { block: null, op: null };
  const op = view.s < OP_BOX ? null : block.ops.map((k) => ops[k]).find((o) => inside(o, OP_W, OP_H));
  return { block, op: op || null };
};
