// One drawn graph in one element `.tracegrad`: paints what layout.js has placed, and does what the reader asks for.
// Items are numbers: a node n, or a group g as ~g.

const FAMILIES = ["elementwise", "reduce", "contract", "shape", "index", "random", "control", "other"];
const KINDS = { graph: "inner graph", chain: "chain of operations", rest: "what is left", repeat: "repeated blocks", backward: "derivatives" };
const MOST = 400; // boxes, at which "open all" stops

class Drawing {
  constructor(root) {
    const data = JSON.parse(root.querySelector("script.graph").textContent), model = new Model(data);
    Object.assign(this, { root, data, model, layout: new Layout(model), equations: model.equations, selected: null, found: [] });
    this.uid = `tg${Math.random().toString(36).slice(2)}`; // markers have names, and a notebook has several drawings
    root.dataset.drawn = "begun";
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.dress());
    this.dress();
    root.insertAdjacentHTML("beforeend", this.frame());
    const find = (name) => root.querySelector(name);
    [this.svg, this.scene, this.panel, this.status, this.hits] = ["svg.stage", "g.scene", "aside", ".status", ".hits"].map(find);
    this.legend();
    this.refresh();
    if (!("page" in root.dataset)) find(".work").style.height = `${Math.min(680, Math.max(260, this.size.h + 60))}px`;
    this.fit();
    this.listen(find);
    requestAnimationFrame(() => requestAnimationFrame(() => { this.painted_ms = performance.now(); root.dataset.drawn = "painted"; }));
  }
  frame() {
    const button = (act, text, label) => `<button type="button" data-act="${act}" title="${label}" aria-label="${label}">${text}</button>`;
    const modes = ["folded", "beside", "hidden"].map((mode) => `<option${mode === this.model.mode ? " selected" : ""}>${mode}</option>`).join("");
    const derivatives = this.model.nodes.some((node) => node.phase > 0) ? `<label>backward <select class="mode">${modes}</select></label>` : "";
    const arrow = (name) => `<marker id="${this.uid}${name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
      markerUnits="userSpaceOnUse" orient="auto"><path class="arrow ${name}" d="M0 0.5L8 4L0 7.5z"/></marker>`;
    return `<div class="bar" role="toolbar" aria-label="drawing"><b>${escape(this.data.title)}</b>
      <span class="search"><input type="search" placeholder="search: op, variable, line, scope" aria-label="search"><div class="hits" hidden></div></span>
      ${derivatives}${button("unfold", "open all", "open all groups")}${button("fold", "close all", "close all groups")}
      ${button("out", "−", "smaller")}${button("in", "+", "larger")}${button("fit", "fit", "show everything")}
      ${button("svg", "svg", "save the picture as SVG")}${button("png", "png", "save the picture as PNG")}${button("theme", "◐", "light or dark")}
      <span class="status" role="status"></span></div>
      <div class="work"><svg class="stage" tabindex="0" role="group" aria-label="graph of ${escape(this.data.title)}: arrow keys follow edges,
      plus and minus open and close groups, Enter shows details"><defs>${arrow("forward")}${arrow("backward")}</defs><g class="scene"></g></svg>
      <aside hidden aria-label="details"></aside></div><div class="legend"></div>`;
  }
  // What the colours mean, of those that occur.
  legend() {
    const { nodes, vars } = this.model, used = new Set(nodes.filter((node) => node.kind === EQUATION).map((node) => node.family));
    const kept = vars.flatMap(({ value, gradient }) => [value, gradient]).filter(Boolean);
    const keys = [...used].sort().map((family) => [`f${family}`, FAMILIES[family]]);
    if (vars.some((v) => v.value)) keys.push(["value", "value"]);
    if (vars.some((v) => v.gradient)) keys.push(["gradient", "∂ gradient of the result"]);
    if (kept.some((s) => s.cells)) keys.push(["above", "above 0"], ["below", "below 0"]);
    if (kept.some((s) => s.nan || s.inf)) keys.push(["bad", "NaN or infinite"]);
    const backward = nodes.some((node) => node.phase > 0) ? '<span><i class="swatch dashes"></i>derivatives (backward)</span>' : "";
    const rows = keys.map(([name, text]) => `<span><i class="swatch" style="background: var(--${name})"></i>${text}</span>`);
    this.root.querySelector(".legend").innerHTML = rows.join("") + backward;
  }

  // Lays out and paints what is visible now.
  refresh() {
    const { model } = this, parts = { groups: [], lines: [], boxes: [] };
    model.fold();
    this.at = new Map();
    const top = this.layout.group(ROOT, model.lines());
    this.size = { w: top.w, h: top.h };
    this.paint(top, 0, 0, parts);
    this.scene.innerHTML = parts.groups.join("") + parts.lines.join("") + parts.boxes.join("");
    const away = this.away(), folded = this.hidden() - away;
    const said = [[folded, "folded away"], [away, "backward hidden"]].filter(([n]) => n).map(([n, what]) => ` · ${n.toLocaleString("en")} ${what}`);
    this.status.textContent = `${counted(this.boxes().length, "equation")} shown${said.join("")}`;
    if (this.selected !== null && !this.at.has(this.selected)) this.selected = [...this.at.keys()][0];
    this.mark();
  }
  paint({ at, inner, paths }, x0, y0, parts) {
    for (const [item, { x, y, w, h }] of at) {
      const left = x0 + x - w / 2, top = y0 + y - h / 2;
      this.at.set(item, { x: left, y: top, w, h });
      if (inner.has(item)) {
        parts.groups.push(this.shell(item, left, top, `<rect class="body" width="${w}" height="${h}" rx="8"/><g class="toggle">
          <rect class="bar" width="${w}" height="${HEAD}" rx="8"/><path class="sign" d="M10 10h8l-4 6z"/></g>`));
        parts.boxes.push(`<g class="titles" transform="translate(${px(left)} ${px(top)})"><text class="title" x="24" y="17">
          ${escape(this.model.name(item))}</text><text class="note" x="${w - 10}" y="16" text-anchor="end">
          ${counted(this.model.groups[~item].total, "equation")}</text></g>`);
        this.paint(inner.get(item), left, top, parts);
      } else parts.boxes.push(this.box(item, left, top));
    }
    for (const { line, label, ends, d } of paths) {
      const names = [...line.vars].slice(0, 12).map((v) => `${this.model.vars[v].name}: ${this.model.vars[v].type}`);
      if (line.vars.size > 12) names.push("…");
      const kind = line.dashed ? "backward" : "forward", wide = line.vars.size > 3 ? " bundle" : "";
      const text = label ? `<text x="${px(label.x)}" y="${px(label.y + 4)}">${escape(line.label)}</text>` : "";
      const arrow = ends ? ` marker-end="url(#${this.uid}${kind})"` : "";
      parts.lines.push(`<g class="line ${kind}${wide}" transform="translate(${x0} ${y0})" data-from="${line.from}" data-to="${line.to}">
        <title>${escape(names.join("\n"))}</title><path class="hit" d="${d}"/><path d="${d}"${arrow}/>${text}</g>`);
    }
  }
  classes(item) {
    const { model } = this, node = model.node(item), group = item < 0 ? model.groups[~item] : null, names = ["box"];
    if (node) names.push(["equation", "input", "constant", "output"][node.kind], `f${node.family}`);
    if (group) names.push("group", group.kind, group.open ? "opened" : "closed");
    if (model.backward(item)) names.push("derivative");
    if (node?.outs.some((v) => [model.vars[v].value, model.vars[v].gradient].some((s) => s && (s.nan || s.inf)))) names.push("broken");
    return names.join(" ");
  }
  shell(item, x, y, content) {
    const { model } = this, node = model.node(item), group = model.groups[~item], words = [model.name(item)];
    if (node) words.push(...node.outs.map((v) => `${model.vars[v].name}: ${model.vars[v].type}`));
    if (group) words.push(counted(group.total, "equation"), group.open ? "open" : "closed");
    if (node?.file) words.push(model.place(node));
    return `<g class="${this.classes(item)}" data-item="${item}" transform="translate(${px(x)} ${px(y)})" tabindex="-1" role="button"
      aria-label="${escape(words.join(", "))}"${group ? ` aria-expanded="${group.open}"` : ""}>${content}</g>`;
  }
  box(item, x, y) {
    const { title, notes, tags, top, w, h } = this.layout.box(item), kind = this.model.node(item)?.kind, fold = item < 0;
    const round = kind === EQUATION || fold ? 5 : 14;
    const repeat = fold && this.model.groups[~item].kind === "repeat" ? `<rect class="body" x="4" y="4" width="${w}" height="${h}" rx="5"/>` : "";
    const stripe = kind === EQUATION ? `<path class="stripe" d="M4 0H5V${h}H4a4 4 0 0 1 -4 -4V4a4 4 0 0 1 4 -4z"/>` : "";
    let below = top, text = `<text class="title" x="${fold ? 30 : 14}" y="17">${escape(title)}</text>`;
    notes.forEach((note, i) => (text += `<text class="note n${notes.length - i}" x="14" y="${30 + 13 * i}">${escape(note)}</text>`));
    for (const tag of tags) {
      const words = `<tspan class="letter">${escape(tag.name)}</tspan>: ${escape(tag.type)}`;
      text += `<text class="tag" x="14" y="${px(below + 10)}">${words}</text>${tag.draw(14, below)}`;
      below += tag.h;
    }
    const sign = fold ? `<g class="toggle"><rect class="bar" width="28" height="${h}" rx="5"/><path class="sign" d="M13 8v9l6 -4.5z"/></g>` : "";
    return this.shell(item, x, y, `${repeat}<rect class="body" width="${w}" height="${h}" rx="${round}"/>${stripe}${sign}${text}`);
  }
  element(item) { return this.scene.querySelector(`[data-item="${item}"]`); }

  // What tests and the status line ask: equations that are drawn, and those inside closed groups or not drawn at all.
  boxes() {
    return [...this.at.keys()].map((item) => this.model.node(item)).filter((node) => node?.kind === EQUATION).map((node) => node.id);
  }
  hidden() {
    const closed = [...this.at.keys()].filter((item) => item < 0 && !this.model.isOpen(item));
    return closed.reduce((sum, item) => sum + this.model.groups[~item].total, this.away());
  }
  away() {
    const { mode, nodes } = this.model;
    return mode === "hidden" ? nodes.filter((node) => node.kind === EQUATION && this.model.shown(node.id) === null).length : 0;
  }

  // ----------------------------------------------------------------------------------------- opening and selecting

  open(g) { for (let id = g; id > ROOT; id = this.model.groups[id].parent) this.model.groups[id].open = true; this.keep(~g); }
  close(g) { this.model.groups[g].open = false; this.keep(~g); }
  toggle(item) { if (item < 0) this[this.model.isOpen(item) ? "close" : "open"](~item); }
  // Repaints with this item where it was on the screen.
  keep(item) {
    const old = this.at.get(item), { view } = this;
    this.refresh();
    const now = this.at.get(item);
    if (old && now) this.look({ k: view.k, x: view.x + (old.x - now.x) * view.k, y: view.y + (old.y - now.y) * view.k });
    else this.fit();
  }
  every(open) {
    let shown = this.at.size;
    for (const group of this.model.groups.slice(1)) {
      if (open && shown > MOST) break;
      if (open && !group.open) shown += group.kids.length;
      group.open = open;
    }
    this.refresh();
    this.fit();
  }
  setMode(mode) {
    this.model.mode = mode;
    for (const chosen of this.root.querySelectorAll(".mode")) chosen.value = mode;
    this.refresh();
    this.fit();
  }
  // Opens what a node lies in, and shows it with its details.
  select(id) {
    const { nodes, groups } = this.model, node = nodes[id];
    if (this.model.mode === "hidden" && node.phase > 0) this.setMode("folded");
    for (let g = node.group; g > ROOT; g = groups[g].parent) groups[g].open = true;
    this.refresh();
    this.choose(node.owns >= 0 ? ~node.owns : id, true);
  }
  choose(item, centre) {
    this.selected = item;
    this.details(item);
    this.mark();
    const { x, w } = this.at.get(item), { k } = this.view;
    if (centre || (w * k < this.svg.clientWidth && this.view.x + (x + w) * k > this.svg.clientWidth)) this.centre(item); // not behind the panel
    this.element(item)?.focus({ preventScroll: true });
  }
  mark() {
    for (const old of this.scene.querySelectorAll(".selected, .found, .near")) old.classList.remove("selected", "found", "near");
    for (const old of this.scene.querySelectorAll('[tabindex="0"]')) old.setAttribute("tabindex", "-1");
    for (const element of this.showing(this.found.slice(0, 300))) element.classList.add("found");
    const stop = this.element(this.selected ?? [...this.at.keys()][0]);
    stop?.setAttribute("tabindex", "0");
    if (this.selected === null) return;
    stop?.classList.add("selected");
    const ends = `[data-from="${this.selected}"], [data-to="${this.selected}"]`;
    for (const line of this.scene.querySelectorAll(ends)) line.classList.add("near");
  }
  // What is seen of these nodes.
  showing(ids) { return ids.map((id) => this.model.shown(id)).filter((item) => item !== null).map((item) => this.element(item)).filter(Boolean); }
  // The boxes of the equations that a rule made, or of the one whose rule made these.
  light(item) {
    for (const old of this.scene.querySelectorAll(".lit")) old.classList.remove("lit");
    const node = item === null ? null : this.model.node(item);
    if (node) for (const element of this.showing([...node.rules, ...(node.of >= 0 ? [node.of] : [])])) element.classList.add("lit");
  }

  // ------------------------------------------------------------------------------------------------- the side panel

  details(item) {
    const { model } = this, node = model.node(item), group = item < 0 ? model.groups[~item] : null, parts = [];
    const list = (name, ids) => {
      if (!ids.length) return;
      const rows = [...new Set(ids)].map((id) => `<li><button type="button" data-go="${id}">${escape(clip(model.told(id), 90))}</button></li>`);
      parts.push(`<h4>${name}</h4><ul>${rows.slice(0, 60).join("")}</ul>`, rows.length > 60 ? `<p>and ${rows.length - 60} more</p>` : "");
    };
    const close = "close the details", heading = `<button type="button" data-act="dismiss" title="${close}" aria-label="${close}">×</button>
      <h3>${escape(model.name(item))}</h3>`;
    const scope = model.scope(group ? group.parent : node.group);
    if (scope.length) parts.push(`<p class="scope">in ${scope.map(escape).join(" / ")}</p>`);
    if (group) parts.push(`<p>${KINDS[group.kind] || group.kind}, ${counted(group.total, "equation")}
      <button type="button" data-toggle="${item}">${group.open ? "close" : "open"}</button></p>`);
    if (node) {
      if (node.text) parts.push(`<pre class="equation">${escape(node.text)}</pre>`);
      if (node.file) parts.push(this.source(node));
      list("derivative rule of", node.of >= 0 ? [node.of] : []);
      list("inputs", model.edges.filter(([, to]) => to === node.id).map(([from]) => from));
      list("used by", model.edges.filter(([from]) => from === node.id).map(([, to]) => to));
      list("its derivative rule", node.rules);
      for (const v of node.kind === OUTPUT ? node.ins : node.outs) parts.push(this.statistics(model.vars[v]));
    }
    this.panel.innerHTML = heading + parts.join("");
    this.panel.hidden = false;
  }
  source({ file, line }) {
    const rows = Object.keys(file.lines).map(Number).filter((n) => Math.abs(n - line) <= 2).sort((a, b) => a - b);
    const link = `vscode://file/${encodeURI(file.path.replace(/^\//, ""))}:${line}`;
    const text = rows.map((n) => `<span${n === line ? ' class="here"' : ""}><i>${n}</i>${escape(file.lines[n])}</span>`).join("");
    return `<p class="where"><a href="${escape(link)}" title="open in the editor">${escape(file.path)}:${line}</a></p>
      <pre class="source">${text}</pre>`;
  }
  statistics({ name, type, value, gradient }) {
    const row = (kind, s) => {
      if (!s) return "";
      const block = s.cells ? `<svg width="132" height="${s.cells.length * 8 + 3}">${cells(s.cells, 8, 1, 1, kind)}</svg>` : "";
      const numbers = s.s ? s.s.map(digits).join("  ") : `min ${digits(s.min)}, mean ${digits(s.mean)}, max ${digits(s.max)}`;
      return `<p class="${kind}">${kind}: ${escape(numbers)}${odds(s).map((text) => `, ${text}`).join("")}</p>${block}`;
    };
    return `<h4><code>${escape(name)}: ${escape(type)}</code></h4>${row("value", value)}${row("gradient", gradient)}`;
  }

  // --------------------------------------------------------------------------------------------------------- search

  // Nodes of which the op, a variable made, the line, or a scope says this: exact words first.
  search(text) {
    const word = text.trim().toLowerCase(), { model } = this, exact = [], part = [];
    if (word) for (const node of model.nodes) {
      const names = [node.op, ...node.outs.map((v) => model.vars[v].name), model.place(node), String(node.line), ...model.scope(node.group)];
      const words = names.map((name) => name.toLowerCase());
      if (words.includes(word)) exact.push(node.id);
      else if (words.some((w) => w.includes(word) && w.length > 2)) part.push(node.id);
    }
    this.found = [...exact, ...part];
    const rows = this.found.slice(0, 40).map((id) => `<button type="button" data-go="${id}">${escape(clip(model.told(id), 70))}</button>`);
    this.hits.innerHTML = `<p>${this.found.length.toLocaleString("en")} found</p>${rows.join("")}`;
    this.hits.hidden = !word;
    this.mark();
    return this.found;
  }

  // ------------------------------------------------------------------------------------------- looking and pointing

  look(view) {
    this.view = view;
    this.scene.setAttribute("transform", `translate(${px(view.x)} ${px(view.y)}) scale(${view.k.toFixed(4)})`);
  }
  fit() {
    const { clientWidth: w, clientHeight: h } = this.svg, margin = 16, k = Math.min(1, (w - margin) / this.size.w);
    const whole = Math.min(k, (h - margin) / this.size.h), scale = Math.max(whole, Math.min(k, 0.6)); // legible rather than whole
    this.look({ k: scale, x: (w - this.size.w * scale) / 2, y: Math.max(6, (h - this.size.h * scale) / 2) });
  }
  zoom(factor, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
    const k = Math.min(4, Math.max(0.05, this.view.k * factor)), f = k / this.view.k;
    this.look({ k, x: x - (x - this.view.x) * f, y: y - (y - this.view.y) * f });
  }
  centre(item) {
    const { x, y, w, h } = this.at.get(item), k = Math.max(this.view.k, 0.7), { clientWidth, clientHeight } = this.svg;
    this.look({ k, x: clientWidth / 2 - (x + w / 2) * k, y: clientHeight / 2 - (y + Math.min(h, 200) / 2) * k });
  }
  // The next item in a direction: along an edge up or down, by place to the left or right.
  step(key) {
    const here = this.selected, p = this.at.get(here), { out = [], into = [] } = this.model.links.get(here) || {};
    if (key === "ArrowDown") return [...out][0];
    if (key === "ArrowUp") return [...into][0];
    const ahead = (q) => (key === "ArrowRight" ? q.x >= p.x + p.w : q.x + q.w <= p.x);
    const far = ([, q]) => Math.abs(q.x + q.w / 2 - p.x - p.w / 2) + 3 * Math.abs(q.y - p.y);
    const side = [...this.at].filter(([item, q]) => item !== here && !this.model.isOpen(item) && ahead(q));
    return side.sort((a, b) => far(a) - far(b))[0]?.[0];
  }
  listen(find) {
    const item = (event) => { const found = event.target.closest("[data-item]"); return found ? Number(found.dataset.item) : null; };
    const acts = {
      in: () => this.zoom(1.25), out: () => this.zoom(0.8), fit: () => this.fit(), unfold: () => this.every(true), fold: () => this.every(false),
      svg: () => this.save("svg"), png: () => this.save("png"), dismiss: () => this.dismiss(), theme: () => this.theme(),
    };
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act], [data-go], [data-toggle]");
      if (button?.dataset.act) acts[button.dataset.act]();
      if (button?.dataset.go) { this.hits.hidden = true; this.select(Number(button.dataset.go)); }
      if (button?.dataset.toggle) { this.toggle(Number(button.dataset.toggle)); this.details(Number(button.dataset.toggle)); }
    });
    this.svg.addEventListener("click", (event) => {
      this.hits.hidden = true;
      if (this.dragged || item(event) === null) return;
      if (event.target.closest(".toggle")) this.toggle(item(event));
      else this.choose(item(event));
    });
    this.svg.addEventListener("dblclick", (event) => {
      const found = item(event);
      if (found !== null && !this.model.isOpen(found) && !event.target.closest(".toggle")) this.toggle(found);
    });
    this.svg.addEventListener("mouseover", (event) => this.light(item(event)));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("wheel", (event) => {
      if (!("page" in this.root.dataset) && !event.ctrlKey && !event.metaKey) return; // a notebook scrolls
      event.preventDefault();
      const box = this.svg.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX - box.x, event.clientY - box.y);
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => {
      this.grip = event.button ? null : { x: event.clientX, y: event.clientY, view: this.view };
      this.dragged = false;
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.grip || !event.buttons) return;
      const dx = event.clientX - this.grip.x, dy = event.clientY - this.grip.y;
      if (Math.abs(dx) + Math.abs(dy) > 4) this.dragged = true;
      if (this.dragged) this.look({ k: this.grip.view.k, x: this.grip.view.x + dx, y: this.grip.view.y + dy });
    });
    const input = find("input");
    input.addEventListener("input", () => this.search(input.value));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.found.length) { // the next one each time
        this.hits.hidden = true;
        this.turn = (this.last === input.value ? this.turn + 1 : 0) % this.found.length;
        this.last = input.value;
        this.select(this.found[this.turn]);
        input.focus();
      }
      if (event.key === "Escape") this.search((input.value = ""));
    });
    find(".mode")?.addEventListener("change", (event) => this.setMode(event.target.value));
    // Paper shows all of the picture, as wide as it is.
    addEventListener("beforeprint", () => {
      this.svg.setAttribute("viewBox", `-8 -8 ${this.size.w + 16} ${this.size.h + 16}`);
      this.svg.style.maxWidth = `${this.size.w + 16}px`;
      this.scene.removeAttribute("transform");
    });
    addEventListener("afterprint", () => {
      this.svg.removeAttribute("viewBox");
      this.svg.style.maxWidth = "";
      this.look(this.view);
    });
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const first = Number(event.target.dataset.item ?? [...this.at.keys()][0]), input = this.root.querySelector("input");
    if (this.selected === null && event.key.startsWith("Arrow")) return event.preventDefault(), this.choose(first, true);
    this.selected ??= first;
    const go = (item) => item !== undefined && this.choose(item, true), open = () => this.selected < 0 && this.open(~this.selected);
    const keys = {
      "+": open, "=": open, "-": () => this.shut(), Enter: () => this.choose(this.selected), Escape: () => this.dismiss(), f: () => this.fit(),
      "/": () => input.focus(),
    };
    const act = event.key.startsWith("Arrow") ? () => go(this.step(event.key)) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    if (document.activeElement !== input) this.element(this.selected)?.focus({ preventScroll: true });
  }
  // Closes the selected group, or else the one around what is selected.
  shut() {
    const around = this.model.isOpen(this.selected) ? ~this.selected : this.model.over(this.selected);
    if (around !== ROOT) { this.selected = ~around; this.close(around); this.details(~around); }
  }
  dismiss() { this.panel.hidden = true; this.selected = null; this.mark(); this.svg.focus({ preventScroll: true }); }
  theme() { this.root.dataset.theme = this.root.classList.contains("dark") ? "light" : "dark"; this.dress(); }
  dress() {
    const { theme } = this.root.dataset;
    this.root.classList.toggle("dark", theme === "dark" || (theme === "auto" && this.scheme.matches));
  }

  // ---------------------------------------------------------------------------------------------------------- saving

  // The current picture as a file that stands alone: styles inside, colours as numbers.
  picture() {
    const copy = this.svg.cloneNode(true), style = getComputedStyle(this.root), { w, h } = this.size;
    const [, css] = this.root.querySelector("style").textContent.match(/takes with it\. \*\/([^]*)\/\* end/);
    const rules = css.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("viewBox", `-12 -12 ${w + 24} ${h + 24}`);
    copy.setAttribute("width", w + 24);
    copy.setAttribute("height", h + 24);
    copy.querySelector(".scene").removeAttribute("transform");
    for (const marked of copy.querySelectorAll(".selected, .found, .near, .lit")) marked.classList.remove("selected", "found", "near", "lit");
    const paper = `<rect x="-12" y="-12" width="${w + 24}" height="${h + 24}" fill="${style.getPropertyValue("--paper")}"/>`;
    copy.insertAdjacentHTML("afterbegin", `<style>${escape(rules)}</style>${paper}`);
    return new XMLSerializer().serializeToString(copy);
  }
  async save(kind) {
    const name = `${this.data.title.replace(/\W+/g, "_") || "graph"}.${kind}`, link = document.createElement("a");
    let url = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(this.picture())}`;
    if (kind === "png") {
      const image = new Image(), canvas = document.createElement("canvas"), scale = Math.min(2, 12000 / Math.max(this.size.w, this.size.h));
      await new Promise((done) => { image.onload = done; image.src = url; });
      [canvas.width, canvas.height] = [image.width * scale, image.height * scale];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      url = canvas.toDataURL("image/png");
    }
    link.download = name;
    link.href = url;
    link.click();
  }
}

for (const root of document.querySelectorAll(".tracegrad:not([data-drawn], [data-failed])")) {
  try {
    window.tracegrad = new Drawing(root);
  } catch (error) { // leave the listing
    delete root.dataset.drawn;
    root.dataset.failed = "";
    throw error;
  }
}
