// What a drawing shows in the present state of folding, and where: boxes with their texts and values, laid out group by
// group by dagre, and the lines between them. `dagre`, this and page.js stand in one function: nothing of it is global.
//
// An *item* is what one box shows: a node by its number n, or a group g as ~g, so that one number says both.
// A *level* is a group whose direct children are laid out together. An edge is drawn at the level where its two ends
// part, and goes on inside open groups from *doors* in their borders: strings such as "^in v7", at the top, or "_out v7".

const ROOT = 0, EQUATION = 0, CONSTANT = 2, OUTPUT = 3; // the first group; kinds of nodes (1 is an input)
const MANY = 6; // lines from one place, of which more are stubs but for the first
const HEAD = 24, PAD = 14, GAP = 20; // a group's title bar and margin; between the boxes of one stack
const BOLD = "600 13px system-ui, sans-serif", SMALL = "10px system-ui, sans-serif";
const mono = (size) => `${size}px ui-monospace, Menlo, Consolas, monospace`;

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const clip = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
const counted = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const fetched = (map, key, make) => map.get(key) ?? (map.set(key, make()), map.get(key));
const px = (x) => x.toFixed(1).replace(/\.0$/, "");

const pen = document.createElement("canvas").getContext("2d"), widths = new Map();
const width = (text, font) => fetched(widths, font + text, () => ((pen.font = font), pen.measureText(text).width));

// Three digits, as a person writes them. JSON has no NaN (null) and no infinities ("inf", "-inf").
function digits(x) {
  if (x === null) return "NaN";
  if (typeof x === "string") return x.replace("inf", "∞").replace(/-/g, "−");
  const size = Math.abs(x), places = Math.min(5, Math.max(0, 2 - Math.floor(Math.log10(size || 1))));
  const far = size >= 1e5 || (size < 1e-3 && size > 0);
  return (far ? x.toExponential(1) : Number.isInteger(x) ? String(x) : x.toFixed(places)).replace(/-/g, "−").replace("e+", "e");
}

// ---------------------------------------------------------------------------------------------- values and gradients

// What an array holds, with its size: numbers where they are few, else coloured cells and what they come to.
function summary(s, kind) {
  if (s.s) {
    const text = (kind === "value" ? "" : "∂ ") + (s.s.length ? s.s.map(digits).join("  ") : "empty");
    const name = s.nan || s.inf ? `${kind} bad` : kind;
    return { w: width(text, mono(11)), h: 15, draw: (x, y) => `<text class="${name}" x="${px(x)}" y="${px(y + 11)}">${escape(text)}</text>` };
  }
  const rows = s.cells || [[]], columns = Math.max(0, ...rows.map((row) => row.length));
  const side = rows.length > 8 ? 4 : columns > 8 ? 5 : 7, left = columns && columns * side + 8, odd = odds(s);
  const lines = [`max ${digits(s.max)}`, `mean ${digits(s.mean)}`, `min ${digits(s.min)}`, ...odd];
  const draw = (x, y) => (columns ? cells(rows, side, x + 1, y + 3, kind) : "") + lines.map((line, i) =>
    `<text class="${kind} small${/NaN|inf/.test(line) ? " bad" : ""}" x="${px(x + left)}" y="${px(y + 11 + 11 * i)}">${escape(line)}</text>`).join("");
  return { w: left + Math.max(...lines.map((line) => width(line, mono(9)))), h: Math.max(rows.length * side, lines.length * 11) + 7, draw };
}
const odds = (s) => [[s.nan, "NaN"], [s.inf, "inf"], [s.zero, "zero"]].filter(([n]) => n).map(([n, name]) => `${n.toLocaleString("en")} ${name}`);

// Cells in eight strengths, one path each: green above zero, purple below, red where there is no number.
function cells(rows, side, x0, y0, kind) {
  const top = Math.max(...rows.flat().map((v) => (typeof v === "number" ? Math.abs(v) : 0)), 1e-300), paths = new Map();
  rows.forEach((row, i) => row.forEach((v, j) => {
    const number = typeof v === "number", strength = number ? Math.ceil((8 * Math.abs(v)) / top) : 8;
    const key = `class="${number ? (v < 0 ? "below" : "above") : "none"}" fill-opacity="${strength / 8}"`;
    if (strength) paths.set(key, (paths.get(key) || "") + `M${px(x0 + j * side)} ${px(y0 + i * side)}h${side}v${side}h-${side}z`);
  }));
  const w = Math.max(0, ...rows.map((row) => row.length)) * side, h = rows.length * side;
  return [...paths].map(([key, d]) => `<path ${key} d="${d}"/>`).join("") +
    `<rect class="frame ${kind}" x="${px(x0 - 0.5)}" y="${px(y0 - 0.5)}" width="${w + 1}" height="${h + 1}"/>`;
}

// -------------------------------------------------------------------------------------------- what there is to draw

class Model {
  constructor(data) {
    this.vars = data.vars.map(([name, type, value, gradient]) => ({ name, type: data.types?.[type] ?? type, value, gradient }));
    this.nodes = data.nodes.map(([kind, op, family, params, ins, outs, group, phase, of, file, line, text], id) =>
      ({ id, kind, op, family, params, ins, outs, group, phase, of, file: data.files[file], line, text, owns: -1, rules: [] }));
    this.groups = data.groups.map(([name, kind, parent, open, , node], id) =>
      ({ id, name, kind, parent: id ? parent : -1, open: Boolean(open) || id === ROOT, node: node ?? -1, total: 0, forward: 0, first: Infinity, kids: [] }));
    this.edges = data.edges;
    // A derivative that is returned, and a constant that only derivatives use, belong to the backward half.
    const forward = new Set(this.edges.filter(([, to]) => this.nodes[to].phase === 0).map(([from]) => from));
    for (const [from, to] of this.edges) {
      if (this.nodes[to].kind === OUTPUT) Object.assign(this.nodes[to], { phase: this.nodes[from].phase, from });
      if (this.nodes[from].kind === CONSTANT && !forward.has(from)) Object.assign(this.nodes[from], { phase: 1, of: this.nodes[to].of });
    }
    this.mode = data.backward;
    for (const group of this.groups) if (group.node >= 0) this.nodes[group.node].owns = group.id;
    for (const node of this.nodes) {
      if (node.kind === EQUATION) node.text ||= this.print(node);
      const group = this.groups[node.group];
      if (node.kind === EQUATION) {
        group.total++;
        group.forward += Number(node.phase === 0);
        group.first = Math.min(group.first, node.id);
      }
      if (node.owns < 0) group.kids.push(node.id);
      if (node.of >= 0 && node.kind === EQUATION) this.nodes[node.of].rules.push(node.id);
    }
    for (const group of this.groups.slice(1).reverse()) {
      const parent = this.groups[group.parent];
      if (group.node >= 0) group.first = group.node;
      parent.total += group.total;
      parent.forward += group.forward;
      parent.first = Math.min(parent.first, group.first);
      parent.kids.push(~group.id);
    }
    for (const group of this.groups) group.kids.sort((a, b) => this.first(a) - this.first(b));
    this.equations = this.groups[ROOT].total;
  }
  // An equation as the listing has it.
  print({ op, params, ins, outs }) {
    const made = outs.map((v) => `${this.vars[v].name}:${this.vars[v].type}`).join(", ");
    return `${made} = ${op}${params && `[${params}]`}${ins.map((x) => " " + this.operand(x)).join("")}`;
  }
  named({ vars }) { return vars.size > 3 ? `${vars.size} values` : this.vars[[...vars][0]].name; }
  // A node in words.
  told(id) {
    const { kind, op, outs, text } = this.nodes[id], made = outs.map((v) => this.vars[v].name).join(", ");
    return [text, `${made} = input ${op}`, `${made} = constant`, `output ${op}`][kind];
  }
  operand(x) { return typeof x === "string" ? x : this.vars[x].name; } // or a literal, as written
  // Where it comes in the order of execution. The derivatives that a Graph returns rise to the top, beside the inputs.
  first(item) { return item < 0 ? this.groups[~item].first : this.rises(item) ? -1 : item; }
  rises(item) { return item >= 0 && this.nodes[item].kind === OUTPUT && this.nodes[item].phase > 0; }
  node(item) { return item < 0 ? this.nodes[this.groups[~item].node] : this.nodes[item]; } // undefined for a group that is no equation
  name(item) { return this.node(item)?.op ?? this.groups[~item].name; }
  isOpen(item) { return item < 0 && this.groups[~item].open; }
  backward(item) {
    const node = this.node(item), group = this.groups[~item];
    return node ? node.phase > 0 : group.kind === "backward" || (group.total > 0 && !group.forward);
  }
  place(node) { return node.file ? `${node.file.path}:${node.line}` : ""; }
  scope(id) { return id > ROOT ? [...this.scope(this.groups[id].parent), this.groups[id].name] : []; }

  // The same, but in two columns a derivative stands where that is of which it is.
  height(item) {
    const first = this.first(item), of = first >= 0 && this.mode === "beside" && this.backward(item) ? this.nodes[first].of : -1;
    return of >= 0 ? of : first;
  }

  // For each group the outermost closed one that it lies in (-1: all are open; -2: it is not drawn), its level and depth.
  // In two columns a group of derivatives is no level of its own: its boxes stand beside those of its parent.
  fold() {
    [this.closed, this.level, this.depth] = [0, 1, 2].map(() => new Int32Array(this.groups.length));
    for (const { id, kind, parent, open } of this.groups) {
      const above = id ? this.closed[parent] : -1, dissolved = kind === "backward" && this.mode === "beside";
      this.level[id] = dissolved ? this.level[parent] : id;
      this.depth[id] = id ? this.depth[parent] + (dissolved ? 0 : 1) : 0;
      this.closed[id] = above !== -1 ? above : this.gone(~id) ? -2 : dissolved || open ? -1 : id;
    }
  }
  gone(item) { return this.mode === "hidden" && item !== ~ROOT && this.backward(item); }
  over(item) { return this.level[item < 0 ? this.groups[~item].parent : this.nodes[item].group]; }
  // The item that shows a node; null where the derivatives are hidden.
  shown(id) {
    const { group, owns } = this.nodes[id], closed = this.closed[group], item = owns >= 0 ? ~owns : id;
    return closed >= 0 ? ~closed : closed === -2 || this.gone(item) ? null : item;
  }
  children(level) {
    const dissolved = (item) => item < 0 && this.level[~item] === level;
    return this.groups[level].kids.filter((item) => !this.gone(item)).flatMap((item) => (dissolved(item) ? this.groups[~item].kids : [item]));
  }

  // The lines to draw at each level. More than three variables between two items go as one bundle.
  lines() {
    const levels = new Map(), pairs = new Map();
    this.links = new Map();
    const links = (item) => fetched(this.links, item, () => ({ into: new Set(), out: new Set() }));
    for (const [from, to, variable] of this.edges) {
      const a = this.shown(from), b = this.shown(to);
      if (a === null || b === null || a === b) continue;
      let A = a, B = b, [up, down] = [this.over(a), this.over(b)];
      const left = [], right = []; // the groups that it leaves and enters, with the child at hand in each
      while (up !== down)
        if (this.depth[up] >= this.depth[down]) { left.push([up, A]); A = ~up; up = this.over(A); }
        else { right.push([down, B]); B = ~down; down = this.over(B); }
      if (A === B) continue;
      links(a).out.add(b);
      links(b).into.add(a);
      const dashed = this.nodes[to].phase > 0, key = `${A}>${B}${dashed ? "'" : ""}`;
      const pair = fetched(pairs, key, () => ({ A, B, level: up, dashed, vars: new Set(), ends: [] }));
      pair.vars.add(variable);
      pair.ends.push([variable, left, right]);
    }
    for (const [key, pair] of pairs) {
      const { A, B, level, dashed, vars, ends } = pair;
      const bundle = vars.size > 3, ahead = this.height(B) - this.height(A), back = ahead < 0 || (ahead === 0 && this.backward(A));
      for (const [variable, left, right] of ends) {
        const port = bundle ? key : `v${variable}`, name = this.vars[variable].name;
        const add = (level, from, to, label) => {
          const id = `${from}|${to}|${port}`, lines = fetched(levels, level, () => new Map());
          fetched(lines, id, () => ({ id, from, to, port, back, dashed, label, vars: new Set() })).vars.add(variable);
        };
        add(level, A, B, bundle ? this.named(pair) : name);
        for (const [group, item] of left) add(group, item, `${back ? "^" : "_"}out ${port}`, "");
        for (const [group, item] of right) add(group, `${back ? "_" : "^"}in ${port}`, item, "");
      }
    }
    // What goes from one place to many is drawn to the first; the others have a stub, with its name.
    for (const lines of levels.values()) {
      const fans = new Map();
      for (const line of lines.values()) fetched(fans, `${line.from} ${line.port}`, () => []).push(line);
      for (const fan of fans.values()) if (fan.length > MANY) for (const line of fan.slice(1)) Object.assign(line, { stub: true, label: line.label || this.named(line) });
    }
    return levels;
  }
}

// ------------------------------------------------------------------------------------------------- sizes and places

class Layout {
  constructor(model) { Object.assign(this, { model, boxes: new Map(), kept: new Map(), stamp: 0 }); }

  // The box of what is no open group: a title, a note, and a tag for each variable that it makes.
  box(item) {
    return fetched(this.boxes, item, () => {
      const { model } = this, node = model.node(item), group = item < 0 ? model.groups[~item] : null, fold = group ? 18 : 0;
      const title = clip(model.name(item), 34), notes = [], tags = [];
      if (node?.kind === EQUATION) {
        const operands = node.ins.map((x) => model.operand(x)).join(", ");
        if (node.ins.some((x) => typeof x === "string")) notes.push(clip(`(${operands})`, 34));
        if (node.params) notes.push(clip(node.params, 34));
      }
      if (group) notes.push(counted(group.total, "equation"));
      if (node && node.kind !== OUTPUT) tags.push(...node.outs.map((v) => this.tag(model.vars[v])));
      const inner = Math.max(width(title, BOLD) + fold, ...notes.map((note) => width(note, SMALL)), ...tags.map((tag) => tag.w));
      const top = 24 + 13 * notes.length, h = top + tags.reduce((sum, tag) => sum + tag.h, 0) + (tags.length ? 4 : 2);
      return { title, notes, tags, top, w: Math.ceil(Math.max(inner + 24, 60)), h: Math.ceil(h) };
    });
  }
  tag({ name, type, value, gradient }) {
    const blocks = [value && summary(value, "value"), gradient && summary(gradient, "gradient")].filter(Boolean);
    const beside = blocks.length === 2 && blocks.every((block) => block.h > 20), places = [];
    let w = width(`${name}: ${type}`, mono(11)), h = 15, x = 0;
    for (const block of blocks) {
      places.push([x, beside ? 15 : h]);
      w = Math.max(w, x + block.w);
      h = beside ? Math.max(h, 15 + block.h) : h + block.h;
      if (beside) x += block.w + 14;
    }
    return { name, type, w, h, draw: (x, y) => blocks.map((block, i) => block.draw(x + places[i][0], y + places[i][1])).join("") };
  }

  // What stands in an open group, measured from its corner. Where nothing has changed since, the last one serves.
  group(id, levels) {
    const { model } = this, items = model.children(id), lines = [...(levels.get(id)?.values() || [])];
    const inner = new Map(items.filter((item) => model.isOpen(item)).map((item) => [item, this.group(~item, levels)]));
    const sizes = new Map(items.map((item) => [item, inner.get(item) || this.box(item)]));
    const measure = (item) => [item, sizes.get(item).w, sizes.get(item).h, inner.get(item)?.stamp];
    const key = JSON.stringify([model.mode, items.map(measure), lines.map((line) => [line.id, line.label])]);
    if (this.kept.get(id)?.key === key) return this.kept.get(id);
    const stacks = model.mode === "beside" ? this.stacks(items) : new Map(), placed = this.arrange(items, lines, sizes, stacks, this.hints(lines, inner));
    if (stacks.size) this.beside(stacks, sizes, placed);
    const points = [...placed.routes.values()].flat(), spots = [...placed.at.values(), ...placed.labels.values(), ...points.map((p) => ({ ...p, w: 6, h: 0 }))];
    const least = (of) => Math.min(...spots.map(of), Infinity), most = (of) => Math.max(...spots.map(of), -Infinity);
    const left = least((p) => p.x - p.w / 2), right = most((p) => p.x + p.w / 2), top = least((p) => p.y - p.h / 2), bottom = most((p) => p.y + p.h / 2);
    const title = id === ROOT ? 0 : width(model.name(~id), BOLD) + width(counted(model.groups[id].total, "equation"), SMALL) + 54;
    const head = id === ROOT ? 0 : HEAD, rim = stacks.size ? 34 : 0, w = Math.max(right - left + 2 * PAD + rim, title);
    const dx = (w - rim - right + left) / 2 - left, dy = head + PAD - top;
    for (const p of [...placed.at.values(), ...placed.labels.values(), ...points, ...placed.doors.values()]) { p.x += dx; p.y += dy; }
    const size = { w: Math.ceil(w), h: Math.ceil(Math.max(bottom - top, 0) + head + 2 * PAD) };
    const result = { ...size, key, stamp: ++this.stamp, at: placed.at, inner, doors: new Map() };
    result.paths = this.paths(lines, placed, [...stacks.values()].flat(), result);
    this.kept.set(id, result);
    return result;
  }

  // For each open group and side of it, what lines join it there and the places of their doors.
  hints(lines, inner) {
    const hints = new Map();
    for (const line of lines)
      for (const [item, other, way] of [[line.from, line.to, "in"], [line.to, line.from, "out"]]) {
        const side = (way === "in") === line.back ? "_" : "^", x = inner.get(other)?.doors.get(`${side}${way} ${line.port}`);
        if (x !== undefined) fetched(fetched(hints, other + side, () => Object.assign(new Map(), { below: side === "^" })), item, () => x);
      }
    return [...hints.values()];
  }
  // dagre does not know of doors. Neighbours in a row whose lines lead to one group are put in the
  // order of its doors, unless that would tear at their other sides.
  reorder(hints, graph, along, edge) {
    for (const hint of hints) {
      const known = [...hint.keys()].filter((v) => graph.hasNode(v)).map((v) => ({ v, node: graph.node(v) }));
      for (const y of new Set(known.map(({ node }) => node.y))) {
        const row = known.filter(({ node }) => node.y === y).sort((a, b) => a.node.x - b.node.x), first = row[0].node, last = row.at(-1).node;
        const left = first.x - first.width / 2, right = last.x + last.width / 2, between = (p) => p.y === y && p.x > left && p.x < right;
        const strange = graph.nodes().map((v) => graph.node(v)).filter((node) => row.every((own) => own.node !== node));
        const others = [...strange, ...along.flatMap((line) => edge(line).points)];
        const tied = row.filter(({ v }) => graph[hint.below ? "predecessors" : "successors"](String(v)).some((u) => u !== "^" && u !== "_"));
        if (row.length < 2 || tied.length > 1 || others.some(between)) continue;
        const gap = (right - left - row.reduce((sum, { node }) => sum + node.width, 0)) / (row.length - 1);
        let x = left;
        for (const { v, node } of row.sort((a, b) => hint.get(a.v) - hint.get(b.v))) {
          const moved = x + node.width / 2 - node.x;
          node.x += moved;
          x += node.width + gap;
          for (const line of along) {
            const found = edge(line), middle = found.points[1];
            if ((line.from !== v && line.to !== v) || found.points.length !== 3 || middle.y > y !== hint.below) continue;
            middle.x += moved;
            if (line.label) found.x += moved;
          }
        }
      }
    }
  }
  // Backward items by the forward item whose rule they are, in the order of execution; a derivative that is returned
  // stands above what computes it.
  stacks(items) {
    const { model } = this, forward = items.filter((item) => !model.backward(item)), stacks = new Map(), homes = new Map();
    let partner = forward.at(-1);
    const stack = (item, home) => { homes.set(item, home); fetched(stacks, home, () => []).push(item); };
    const within = (item, found) => {
      while (item !== null && !found(item)) item = model.over(item) === ROOT ? null : ~model.over(item);
      return item;
    };
    if (forward.length) for (const item of items) {
      if (!model.backward(item) || model.rises(item)) continue;
      const { of } = model.nodes[model.first(item)];
      partner = (of < 0 ? null : within(model.shown(of), (at) => forward.includes(at))) ?? partner;
      stack(item, partner);
    }
    for (const item of items.filter((item) => model.rises(item))) {
      const source = within(model.shown(model.nodes[item].from), (at) => homes.has(at));
      if (source === null) continue;
      const list = stacks.get(homes.get(source));
      list.splice(list.indexOf(source) + 1, 0, item);
    }
    return stacks;
  }
  // The second column: each stack at the height of its forward item and right of all that runs there, the first to run lowest.
  beside(stacks, sizes, { at, routes }) {
    const taken = [...at.values()].map((p) => ({ right: p.x + p.w / 2 + 54, top: p.y - p.h / 2, bottom: p.y + p.h / 2 }));
    for (const route of routes.values()) route.forEach((p, i) => {
      const q = route[i + 1] ?? p;
      taken.push({ right: Math.max(p.x, q.x) + 30, top: Math.min(p.y, q.y) - 20, bottom: Math.max(p.y, q.y) + 20 });
    });
    for (const [partner, stack] of [...stacks].sort(([a], [b]) => at.get(a).x - at.get(b).x)) {
      const w = Math.max(...stack.map((item) => sizes.get(item).w)), h = tall(stack, sizes), top = at.get(partner).y - h / 2;
      let y = top + h;
      const left = Math.max(...taken.filter((other) => other.top < y + 10 && top - 10 < other.bottom).map((other) => other.right));
      taken.push({ right: left + w + 36, top, bottom: y });
      for (const item of stack) {
        const size = sizes.get(item);
        at.set(item, { x: left + w / 2, y: y - size.h / 2, w: size.w, h: size.h });
        y -= size.h + GAP;
      }
    }
  }

  // dagre's part. A line that points back is given to it turned round, so that the forward half flows down and no cycle
  // is left. A node above all others holds the doors at the top, one below those at the bottom.
  arrange(items, lines, sizes, stacks, hints) {
    const graph = new dagre.graphlib.Graph({ multigraph: true }), aside = new Set([...stacks.values()].flat());
    graph.setGraph({ nodesep: 24, edgesep: 12, ranksep: 30 });
    const inside = items.filter((item) => !aside.has(item)), along = lines.filter((line) => !line.stub && !aside.has(line.from) && !aside.has(line.to));
    const doors = [...new Set(along.flatMap(({ from, to }) => [from, to]).filter(isDoor))];
    for (const door of doors) graph.setNode(door, { width: 8, height: 0 });
    for (const item of inside) {
      const { w, h } = sizes.get(item);
      graph.setNode(item, { width: w, height: Math.max(h, tall(stacks.get(item) || [], sizes)) });
    }
    const ends = (line) => (line.back ? [line.to, line.from] : [line.from, line.to]).map(String);
    for (const line of along) {
      const label = line.label ? { width: width(line.label, mono(11)) + 8, height: 14 } : { width: 0, height: 0 };
      graph.setEdge(...ends(line), { ...label, labelpos: "c" }, line.id);
    }
    const nothing = { width: 0, height: 0 };
    for (const [mark, bare] of [["^", "predecessors"], ["_", "successors"]]) {
      if (!doors.some((door) => door[0] === mark)) continue;
      graph.setNode(mark, { ...nothing });
      for (const v of [...doors.filter((door) => door[0] === mark), ...inside.map(String)])
        if (!graph[bare](v).length) graph.setEdge(...(mark === "^" ? [mark, v] : [v, mark]), { ...nothing, weight: v[0] === mark ? 100 : 0 });
    }
    if (inside.length) dagre.layout(graph);
    const edge = (line) => { const [v, w] = ends(line); return graph.edge({ v, w, name: line.id }); };
    this.reorder(hints, graph, along, edge);
    // A line passes a row of boxes upright, and turns between the rows.
    const rows = new Map();
    for (const { y, height } of graph.nodes().map((v) => graph.node(v))) rows.set(Math.round(y), Math.max(rows.get(Math.round(y)) || 0, height / 2));
    const straight = ({ x, y }) => [-1, 1].map((side) => ({ x, y: y + side * (rows.get(Math.round(y)) || 0) }));
    const route = (line) => { const points = edge(line).points.slice(1, -1).flatMap(straight); return line.back ? points.reverse() : points; };
    const labels = along.filter((line) => line.label).map((line) => [line.id, { x: edge(line).x, y: edge(line).y, w: edge(line).width, h: 14 }]);
    labels.sort(([, a], [, b]) => a.y - b.y || a.x - b.x).forEach(([, p], i) => {
      const last = i && labels[i - 1][1];
      if (last && last.y === p.y) p.x = Math.max(p.x, last.x + (last.w + p.w) / 2 - 4); // where a reordered row has pushed them together
    });
    const spot = (v, { w, h }) => [v, { x: graph.node(v).x, y: graph.node(v).y, w, h }];
    return {
      at: new Map(inside.map((item) => spot(item, sizes.get(item)))),
      doors: new Map(doors.map((door) => spot(door, { w: 8, h: 0 }))),
      labels: new Map(labels),
      routes: new Map(along.map((line) => [line.id, route(line)])),
    };
  }

  // Where each line runs: out of one box's lower border into the next one's upper border (the other way for one that
  // points back), through its door where that is an open group. Lines at one border are spread over it in the order in
  // which they come. What dagre has not placed runs in the second column, or between the two: see `beyond`.
  paths(lines, placed, aside, result) {
    const { at, routes, labels, doors } = placed, borders = new Map(), second = new Set(aside);
    this.hang(lines.filter((line) => !line.stub && !routes.has(line.id)), placed, second, result);
    const drawn = lines.map((line, n) => {
      const kept = line.stub || routes.has(line.id), [p, q] = [line.from, line.to].map((end) => at.get(end) || doors.get(end));
      const way = kept ? { back: line.back } : this.beyond(line, n, p, q, at, second);
      const end = (item, other, name, near) => {
        const box = at.get(item), leaves = name === "out";
        if (!box) { // a door of the group that this is laid out in
          const { x } = doors.get(item), top = item[0] === "^";
          result.doors.set(item, x);
          return { x, y: top ? HEAD : result.h, turn: top ? 30 : -30 };
        }
        const border = (up) => box.y + ((up ? -1 : 1) * box.h) / 2, through = leaves === line.back;
        const door = result.inner.get(item)?.doors.get(`${through ? "^" : "_"}${name} ${line.port}`);
        if (door !== undefined) return { x: box.x - box.w / 2 + door, y: border(through) + (through ? HEAD : 0), through: true, turn: through ? -24 : 24 };
        const first = way.across && !second.has(item), inRow = (o) => o.x > box.x && o.x - o.w / 2 < way.channel && Math.abs(o.y - box.y) < (o.h + 4) / 2;
        const shut = first && [...at.values()].some(inRow);
        if (way.channel !== undefined && !shut) {
          const side = way.right || first ? 1 : -1;
          return { x: box.x + (side * box.w) / 2, y: box.y, level: true, turn: Math.sign(other.y - box.y) * 14 };
        }
        const up = !shut && leaves === way.back, place = { x: box.x, y: border(up), near: near?.x ?? other.x, box, turn: shut ? 12 : 0 };
        fetched(borders, `${item} ${up}`, () => []).push(place);
        return place;
      };
      let route = routes.get(line.id) || [];
      const from = !line.stub && end(line.from, q, "out", route[0]), to = end(line.to, p, "in", route.at(-1));
      if (way.channel !== undefined && (from.level || to.level) && (!way.across || Math.abs(from.y - to.y) > 40))
        route = [from, to].filter((e) => e.turn).map((e) => ({ x: way.across || e.level ? way.channel : e.x, y: e.y + e.turn }));
      return { line, route, from, to };
    });
    for (const places of borders.values()) {
      const step = Math.min(26, (0.7 * places[0].box.w) / places.length);
      places.sort((a, b) => a.near - b.near).forEach((place, i) => (place.x += (i - (places.length - 1) / 2) * step));
    }
    return drawn.map(({ line, route, from, to }) => {
      const side = line.back ? 1 : -1, label = line.stub ? { x: to.x - 5 - width(line.label, mono(11)) / 2, y: to.y + 8 * side } : labels.get(line.id);
      return { line, label, ends: !to.through && !isDoor(line.to), d: curve([from || { x: to.x, y: to.y + 14 * side }, ...route, to]) };
    });
  }
  // Doors that only the second column uses: over the one box that each serves, or on the right where something is in the way.
  hang(loose, { at, doors }, second, result) {
    for (const door of new Set(loose.flatMap(({ from, to }) => [from, to]).filter((end) => isDoor(end) && !doors.has(end)))) {
      const y = door[0] === "^" ? 0 : result.h, own = loose.filter(({ from, to }) => from === door || to === door);
      const ends = own.map(({ from, to }) => at.get(from) || at.get(to));
      const clear = ends.length === 1 && !blocking(at, ends[0], { x: ends[0].x, y }).length;
      const along = [...at.values()].filter((o) => ends.includes(o) || ends.some((p) => (o.y - p.y) * (o.y - y) < 0));
      doors.set(door, { y, w: 8, h: 0, x: clear ? ends[0].x : rim(along) + 4 * (doors.size % 4) });
      second.add(door);
    }
  }
  // A line of the second column rounds what is in its way on the right. One between the columns goes from side to side,
  // upright on the left of the second, or right of all that it passes if something stands there.
  beyond(line, n, p, q, at, second) {
    const across = second.has(line.from) !== second.has(line.to), between = blocking(at, p, q), back = q.y < p.y;
    if (!across) return between.length ? { back, right: true, channel: rim([p, q, ...between].filter((o) => o.h)) + 4 * (n % 4) } : { back };
    const passed = [...at.values()].filter((o) => o !== p && o !== q && o.y - o.h / 2 < Math.max(p.y, q.y) && o.y + o.h / 2 > Math.min(p.y, q.y));
    const near = second.has(line.from) ? p : q, channel = near.x - near.w / 2 - 10 - 4 * (n % 5), right = passed.some((o) => Math.abs(o.x - channel) < o.w / 2);
    return { back, across, right, channel: right ? rim([p, q, ...passed].filter((o) => o.h)) + 4 * (n % 4) : channel };
  }
}
const isDoor = (end) => typeof end === "string";
const rim = (boxes) => Math.max(...boxes.map((o) => o.x + o.w / 2)) + 10;
const blocking = (at, p, q) => [...at.values()].filter((o) =>
  o !== p && o !== q && (o.y - p.y) * (o.y - q.y) < 0 && Math.abs(o.x - (p.x + q.x) / 2) < (o.w + Math.abs(p.x - q.x)) / 2);
const tall = (stack, sizes) => stack.reduce((sum, item) => sum + sizes.get(item).h + GAP, -GAP);

// Through all points, upright at each but where it leaves or enters a box from the side.
function curve(points) {
  return points.map((p, i) => {
    if (!i) return `M${px(p.x)} ${px(p.y)}`;
    const o = points[i - 1], x = (o.x + p.x) / 2, y = (o.y + p.y) / 2;
    return `C${(o.level ? [x, o.y] : [o.x, y]).map(px).join(" ")} ${(p.level ? [x, p.y] : [p.x, y]).map(px).join(" ")} ${px(p.x)} ${px(p.y)}`;
  }).join("");
}
