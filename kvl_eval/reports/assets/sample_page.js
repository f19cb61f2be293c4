// Looking through samples: one row for each, with one outcome for each run. Everything shown passes the filter.
// data/index.js calls kvl.index, chunk files call kvl.chunk; all texts enter the page as text nodes.
"use strict";
(() => {
  const { el, rendered, raw, inLine } = window.kvlText;
  const SIGNS = { correct: "✓", partial: "◐", wrong: "✗", no_answer: "∅", truncated: "✂", refused: "⊘", not_scored: "?", failed: "!", pending: "·", not_run: "·" };
  const CSS = { no_answer: "none", truncated: "cut", not_scored: "open", not_run: "notrun", pending: "notrun" };
  const ROW = 46; // pixels; as in the style sheet
  const SPARE = 8; // rows above and below those in view
  const KEPT = 24; // chunks in memory
  const packed = "packed" in document.documentElement.dataset;
  const byId = (id) => document.getElementById(id);
  const form = byId("filters"), list = byId("list"), rows = byId("rows"), space = byId("space"), look = byId("look"), read = byId("read");
  const state = { size: 0, found: [], current: null, voice: null, image: 0, rich: true, first: -1, turn: 0, wanted: {}, allowed: [] };
  const chunks = new Map(), waiting = new Map();
  const kvl = window.kvl = { chunks, state };

  const cssOf = (outcome) => CSS[outcome] || outcome;
  const words = (outcome) => outcome.replaceAll("_", " ");
  const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  const letter = (i) => String.fromCharCode(65 + i);
  function drawing(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  const SHAPES = {
    circle: ["circle", { r: 5 }], square: ["path", { d: "M-5 -5h10v10h-10z" }], triangle: ["path", { d: "M0 -6l6 10.5h-12z" }],
    pentagon: ["path", { d: "M0 -6l5.7 4.1-2.2 6.7h-7l-2.2-6.7z" }], bar: ["path", { d: "M-2.5 -6h5v12h-5z" }], cross: ["path", { d: "M-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z" }],
  };
  function dot(run) {
    const [name, attributes] = SHAPES[run.shape];
    return drawing("svg", { class: "key", width: 12, height: 12, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, drawing(name, { ...attributes, class: `dot ${run.css}` }));
  }
  const badge = (outcome, run) => el("i", { class: cssOf(outcome), title: `${run.name}: ${words(outcome)}` }, SIGNS[outcome]);

  // -- data ------------------------------------------------------------------------------------------------------------
  kvl.index = (index) => {
    Object.assign(kvl, index);
    state.size = index.columns.id.length;
    state.allowed = index.voices.map((_, v) => v);
    fillFilters();
    byId("browser").hidden = false;
    readAddress();
  };
  kvl.chunk = (number, samples) => {
    chunks.set(number, samples);
    if (!packed && chunks.size > KEPT) chunks.delete(chunks.keys().next().value);
    const resolve = waiting.get(number);
    waiting.delete(number);
    if (resolve) resolve(samples);
  };
  function load(number) {
    if (chunks.has(number)) return Promise.resolve(chunks.get(number));
    return new Promise((resolve, reject) => {
      const before = waiting.get(number);
      waiting.set(number, (samples) => { if (before) before(samples); resolve(samples); });
      if (before) return;
      const script = el("script", { src: `data/c${number}.js` });
      script.addEventListener("load", () => script.remove());
      script.addEventListener("error", () => { waiting.delete(number); reject(new Error(`data/c${number}.js is missing`)); });
      document.head.append(script);
    });
  }

  const name = (number) => kvl.names[number];
  const task = (n) => name(kvl.columns.task[n]);
  function outcomeOf(n, v) { // what became of the reply of one voice; not_run where none was planned
    const code = kvl.columns.outcomes[n][v];
    return code === "-" || code === undefined ? "not_run" : kvl.outcomes[code];
  }
  function among(pairs, v) { // names of a voice in a flat list [voice, name, voice, name, ...]
    const out = [];
    for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === v) out.push(name(pairs[i + 1]));
    return out;
  }
  const voiceOfRun = (n, run, voices) => voices.find((v) => kvl.voices[v].run === run && outcomeOf(n, v) !== "not_run");

  // -- filter ------------------------------------------------------------------------------------------------------------
  function fillFilters() {
    const fill = (field, entries, all, fewest = 2) => {
      form.elements[field].replaceChildren(el("option", { value: "" }, all), ...entries.map(([value, text]) => el("option", { value }, text)));
      form.elements[field].closest("label").hidden = entries.length < fewest;
    };
    const distinct = (column, step = 1) => { const out = new Set(); for (const values of kvl.columns[column]) for (let i = step - 1; i < values.length; i += step) out.add(values[i]); return [...out].map(name).sort().map((text) => [text, text]); };
    const tasks = [...new Set(kvl.columns.task)].map(name);
    fill("task", tasks.map((text) => [text, kvl.titles[text] || text]), "all tasks");
    fill("run", kvl.runs.map((run, i) => [String(i), run.name]), "any run");
    const used = new Set();
    for (const codes of kvl.columns.outcomes) for (const code of codes) used.add(code);
    fill("outcome", kvl.outcomes.filter((_, code) => used.has(String(code))).map((o) => [o, `${SIGNS[o]} ${words(o)}`]), "any outcome", 1);
    fill("category", distinct("categories"), "any category", 1);
    fill("cause", distinct("causes").map(([text]) => [text, words(text)]), "any cause", 1);
    fill("budget", [...new Set(kvl.voices.map((voice) => voice.budget).filter(Boolean))].map((text) => [text, text]), "any budget");
    fill("reason", distinct("reasons", 2).map(([text]) => [text, words(text)]), "any reason", 1);
    fill("flag", distinct("flags", 2), "any flag", 1);
    fill("protocol", distinct("protocols", 2).map(([text]) => [text, `${text} differs`]), "any protocol", 1);
    form.elements.differ.closest("label").hidden = kvl.runs.length < 2;
  }

  function differs(n, voices) {
    const seen = new Set();
    kvl.runs.forEach((_, run) => {
      const v = voiceOfRun(n, run, voices);
      const outcome = v === undefined ? "not_run" : outcomeOf(n, v);
      if (!["not_run", "pending", "failed", "not_scored"].includes(outcome)) seen.add(outcome === "correct");
    });
    return seen.size > 1;
  }
  // The voices of a sample that pass what the filter says of replies.
  const matching = (n, f) => state.allowed.filter((v) => {
    const outcome = outcomeOf(n, v);
    return outcome !== "not_run" && (!f.outcome || outcome === f.outcome)
      && (!f.reason || among(kvl.columns.reasons[n], v).includes(f.reason)) && (!f.flag || among(kvl.columns.flags[n], v).includes(f.flag))
      && (!f.protocol || among(kvl.columns.protocols[n], v).includes(f.protocol));
  });
  function passes(n, f) {
    const named = (column, text) => kvl.columns[column][n].some((number) => name(number) === text);
    return (!f.task || task(n) === f.task) && (!f.category || named("categories", f.category)) && (!f.cause || named("causes", f.cause))
      && matching(n, f).length > 0 && (!f.differ || differs(n, f.unchosen));
  }
  function holds(sample, query) {
    const has = (text) => Boolean(text) && String(text).toLowerCase().includes(query);
    return has(sample.question) || has(sample.gold) || sample.choices.some(has)
      || state.allowed.some((v) => { const r = sample.replies[v]; return r && [r.text, r.thinking, r.extracted, r.prompt].some(has); });
  }

  async function filter(wanted, tab = null) {
    const f = Object.fromEntries(new FormData(form)), turn = ++state.turn;
    for (const select of form.querySelectorAll("select")) if (select.value) select.dataset.on = ""; else delete select.dataset.on;
    const withBudget = (voice) => !f.budget || voice.budget === f.budget;
    f.unchosen = kvl.voices.flatMap((voice, v) => (withBudget(voice) ? [v] : []));
    state.allowed = f.unchosen.filter((v) => !f.run || String(kvl.voices[v].run) === f.run);
    state.wanted = f;
    const left = [];
    for (let n = 0; n < state.size; n += 1) if (passes(n, f)) left.push(n);
    const query = (f.q || "").trim().toLowerCase();
    if (!query) return present(left, "", wanted, tab);
    const quick = (n) => kvl.columns.id[n].toLowerCase().includes(query) || kvl.columns.question[n].toLowerCase().includes(query);
    const hits = new Set(left.filter(quick));
    const rest = [...new Set(left.filter((n) => !hits.has(n)).map((n) => kvl.columns.chunk[n]))];
    const byChunk = Map.groupBy ? Map.groupBy(left, (n) => kvl.columns.chunk[n]) : left.reduce((m, n) => m.set(kvl.columns.chunk[n], [...(m.get(kvl.columns.chunk[n]) || []), n]), new Map());
    present(left.filter((n) => hits.has(n)), rest.length ? ", searching" : "", wanted, tab);
    for (const [done, number] of rest.entries()) {
      const samples = await load(number);
      if (turn !== state.turn) return undefined; // a newer filter
      for (const n of byChunk.get(number)) if (!hits.has(n) && holds(samples[kvl.columns.place[n]], query)) hits.add(n);
      const waits = rest.length - done - 1;
      if (done % 20 === 19 || !waits) present(left.filter((n) => hits.has(n)), waits ? `, searching, ${counted(waits, "part")} left` : "", wanted, tab);
    }
    return undefined;
  }

  function present(found, progress, wanted, tab) {
    state.found = found;
    const replies = found.reduce((sum, n) => sum + matching(n, state.wanted).length, 0);
    const runs = new Set(state.allowed.map((v) => kvl.voices[v].run)).size;
    const several = runs === 1 && replies > found.length ? `, ${replies.toLocaleString("en")} replies` : "";
    byId("count").textContent = `${found.length.toLocaleString("en")} of ${counted(state.size, "sample")}${several}${progress}`;
    space.style.height = `${found.length * ROW}px`;
    const keep = wanted !== undefined && found.includes(wanted) ? wanted : state.current !== null && found.includes(state.current) ? state.current : found[0];
    open(keep === undefined ? null : keep, keep === wanted ? tab : null);
  }

  // -- list: only the rows in view exist -----------------------------------------------------------------------------------
  function item(n, place) {
    const signs = kvl.runs.map((run, i) => { const v = voiceOfRun(n, i, state.wanted.unchosen); return badge(v === undefined ? "not_run" : outcomeOf(n, v), run); });
    return el("li", { "aria-posinset": place + 1, "aria-setsize": state.found.length },
      el("a", { href: address(n, null), "data-row": n, "aria-current": n === state.current ? "true" : null, tabindex: "-1" },
        el("span", { class: "qt", dir: "auto" }, kvl.columns.question[n] || kvl.columns.id[n]), el("span", { class: "vs" }, ...signs),
        el("span", { class: "qs" }, `${kvl.titles[task(n)] || task(n)} ${kvl.columns.id[n]}`)));
  }
  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE), count = Math.ceil(list.clientHeight / ROW) + 2 * SPARE;
    if (first === state.first) return;
    state.first = first;
    rows.style.top = `${first * ROW}px`;
    rows.replaceChildren(...state.found.slice(first, first + count).map((n, i) => item(n, first + i)));
  }
  function reveal() {
    const at = state.found.indexOf(state.current) * ROW;
    if (at >= 0 && at < list.scrollTop) list.scrollTop = at;
    else if (at + ROW > list.scrollTop + list.clientHeight) list.scrollTop = at + ROW - list.clientHeight;
    state.first = -1;
    draw();
  }
  list.addEventListener("scroll", draw, { passive: true });
  rows.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    list.focus({ preventScroll: true });
    choose(Number(link.dataset.row));
  });
  new ResizeObserver(() => { state.first = -1; if (kvl.columns) draw(); }).observe(list);

  // -- one sample ------------------------------------------------------------------------------------------------------------
  function pick(n) { // the voice whose reply is shown: the one chosen before, where it passes
    const good = matching(n, state.wanted);
    if (good.includes(state.voice)) return state.voice;
    const run = state.voice === null ? undefined : kvl.voices[state.voice].run;
    const alike = good.find((v) => kvl.voices[v].run === run);
    return alike === undefined ? (good[0] ?? null) : alike;
  }
  function open(n, tab = null) { // `tab`: a voice that an address names, whatever the filter says of replies
    if (n !== state.current) state.image = 0;
    state.current = n;
    if (n !== null) state.voice = tab !== null && outcomeOf(n, tab) !== "not_run" ? tab : pick(n);
    reveal();
    return show();
  }
  function choose(n) { open(n); history.replaceState(null, "", address(n, state.voice)); }
  function go(by) {
    const next = state.found[state.found.indexOf(state.current) + by];
    if (state.current !== null && next !== undefined) choose(next);
  }
  function say(voice) { state.voice = voice; history.replaceState(null, "", address(state.current, voice)); show(); }

  function show() {
    const n = state.current;
    if (n === null) return nothing();
    const number = kvl.columns.chunk[n];
    if (chunks.has(number)) return page(n, chunks.get(number)[kvl.columns.place[n]]);
    look.replaceChildren();
    read.replaceChildren(el("p", { class: "nothing" }, "Loading ..."));
    return load(number).then((samples) => { if (state.current === n) page(n, samples[kvl.columns.place[n]]); },
      (error) => { if (state.current === n) read.replaceChildren(el("p", { class: "nothing" }, String(error.message))); });
  }
  function nothing() {
    const clear = el("button", { type: "button" }, "Clear the filter");
    clear.addEventListener("click", () => form.reset());
    look.replaceChildren();
    read.replaceChildren(el("p", { class: "nothing" }, "No sample passes this filter.", el("br"), clear));
  }

  const rich = (text, span) => (state.rich ? rendered(text, span) : raw(text, span));
  function page(n, sample) {
    kvl.sample = sample;
    const r = state.voice === null ? undefined : sample.replies[state.voice], place = state.found.indexOf(n);
    look.replaceChildren(...image(n, sample, r));
    const step = (text, by, label) => { const b = el("button", { type: "button", "aria-label": label }, text); b.disabled = state.found[place + by] === undefined; b.addEventListener("click", () => go(by)); return b; };
    read.replaceChildren(
      el("div", { class: "head" }, el("h2", null, `${kvl.titles[task(n)] || task(n)} ${kvl.columns.id[n]}`), el("span", null, `${(place + 1).toLocaleString("en")} of ${state.found.length.toLocaleString("en")}`),
        el("a", { href: window.kvlAddress.href("samples", String(new URLSearchParams({ task: task(n), id: kvl.columns.id[n] }))) }, "link"),
        el("span", { class: "go" }, step("← k", -1, "Previous sample"), step("j →", 1, "Next sample"))),
      el("div", { class: "question", dir: "auto" }, ...(state.rich ? rendered(sample.question, null) : [el("p", { class: "as-typed" }, sample.question)])),
      choices(n, sample), tabs(n), ...(r ? [readline(n, r), answer(r)] : []), others(n, sample), folds(n, sample, r));
  }

  function choices(n, sample) {
    if (!sample.choices.length) return el("p", { class: "goldline" }, "Gold ", el("b", null, sample.gold || "not published"));
    const voices = kvl.runs.map((_, run) => voiceOfRun(n, run, state.wanted.unchosen));
    return el("ol", { class: "choices" }, ...sample.choices.map((choice, i) => {
      const by = voices.filter((v) => v !== undefined && sample.replies[v] && sample.replies[v].chose === i);
      const gold = sample.right.includes(i);
      return el("li", { class: gold ? "gold" : null }, el("b", null, letter(i)), el("span", { dir: "auto" }, ...(state.rich ? inLine(choice) : [choice])),
        gold ? el("span", { class: "chip ok" }, "gold") : null, el("span", { class: "by" }, ...by.map((v) => dot(kvl.runs[kvl.voices[v].run]))));
    }));
  }

  function tabs(n) {
    const bar = el("div", { class: "tabs", role: "tablist", "aria-label": "Replies" });
    kvl.runs.forEach((run, i) => {
      const chosen = state.voice !== null && kvl.voices[state.voice].run === i;
      const v = chosen ? state.voice : voiceOfRun(n, i, state.wanted.unchosen);
      if (v === undefined) return;
      const tab = el("button", { type: "button", role: "tab", "aria-selected": String(chosen), title: `key ${i + 1}` }, dot(run), run.name, el("span", { class: "vs" }, badge(outcomeOf(n, v), run)));
      tab.addEventListener("click", () => say(v));
      bar.append(tab);
    });
    const mode = el("button", { type: "button", class: "mode" }, state.rich ? "show as text" : "show rendered");
    mode.addEventListener("click", () => { state.rich = !state.rich; show(); });
    return el("div", { class: "tabrow" }, bar, variants(n), mode);
  }
  function variants(n) { // budgets and repeats of the chosen run
    if (state.voice === null) return null;
    const run = kvl.voices[state.voice].run;
    const own = state.wanted.unchosen.filter((v) => kvl.voices[v].run === run && outcomeOf(n, v) !== "not_run");
    if (own.length < 2) return null;
    const select = el("select", { "aria-label": "Budget and repeat", class: "variant" }, ...own.map((v) => el("option", { value: v }, `${SIGNS[outcomeOf(n, v)]} ${kvl.voices[v].label || "no budget"}`)));
    select.value = String(state.voice);
    select.addEventListener("change", () => say(Number(select.value)));
    return select;
  }

  function readline(n, r) {
    const outcome = outcomeOf(n, state.voice);
    const read = r.extracted === null ? [el("span", null, r.status === "ok" ? "no answer extracted" : words(r.status))] : [el("span", null, "extracted ", el("code", null, r.extracted))];
    const thought = r.thoughtTokens ? `, thought ${r.thoughtTokens.toLocaleString("en")}` : "";
    const muted = (text) => (text ? el("span", { class: "muted" }, text) : null);
    const to = new URLSearchParams({ journal: r.journal, run: kvl.runs[kvl.voices[state.voice].run].name });
    const steps = r.journal && document.querySelector(".menu a[href*=trajectory]") ? el("a", { href: `${packed ? "" : "trajectory.html"}${window.kvlAddress.href("trajectory", String(to))}` }, "steps of this episode") : null;
    return el("p", { class: "readline" }, el("b", { class: cssOf(outcome) }, `${SIGNS[outcome]} ${words(outcome)}`), ...read, muted(r.method), muted(words(r.reason)), muted(r.message), muted(r.tokens === null ? "" : `${counted(r.tokens, "token")}${thought}`), steps);
  }

  function answer(r) {
    if (!r.text) return el("div", { class: "answer gone" }, r.status === "ok" ? "no reply after the thought" : r.status === "pending" ? "not answered yet" : "no reply");
    return el("div", { class: state.rich ? "answer" : "answer raw", dir: "auto", tabindex: "0", role: "region", "aria-label": "Reply" }, ...rich(r.text, r.span));
  }

  function others(n, sample) {
    const chosen = state.voice === null ? -1 : kvl.voices[state.voice].run;
    const voices = kvl.runs.map((_, run) => (run === chosen ? undefined : voiceOfRun(n, run, state.wanted.unchosen))).filter((v) => v !== undefined);
    return el("div", { class: "others" }, ...voices.map((v) => {
      const other = sample.replies[v], run = kvl.runs[kvl.voices[v].run];
      const text = other && other.text ? other.text.slice(0, 1200) : "";
      const span = text && other.span && other.span[1] <= text.length ? other.span : null;
      const card = el("div", { class: "other", "data-voice": v }, el("button", { type: "button", class: "who", "aria-label": `Show the reply of ${run.name}` }, dot(run), run.name, el("span", { class: "vs" }, badge(outcomeOf(n, v), run))),
        el("div", { class: state.rich ? "said" : "said raw" }, ...(text ? rich(text, span) : [other ? words(other.reason || other.status) : "not answered yet"])));
      card.addEventListener("click", () => { if (!String(getSelection())) say(v); });
      return card;
    }));
  }

  // -- what is folded ----------------------------------------------------------------------------------------------------------
  const fold = (title, ...nodes) => el("details", null, el("summary", null, title), ...nodes);
  const pre = (text) => el("pre", { dir: "auto", tabindex: "0" }, text);
  function folds(n, sample, r) {
    const out = [];
    if (r && r.thinking) out.push(fold(`Thought, ${counted(r.thoughtTokens, "token")}`, pre(r.thinking)));
    if (r && r.prompt) out.push(fold("Exact prompt", pre(r.prompt)));
    if (r && r.protocols.length > 1) out.push(fold("Other protocols", protocols(r)));
    const judged = r ? r.protocols.filter((one) => one.judge) : [];
    if (judged.length) out.push(fold("Judge's reply", pre(judged.map((one) => one.judge).join("\n\n"))));
    if (sample.row) out.push(fold("Row of the data set", pre(sample.row)));
    if (sample.more.length) out.push(fold(sample.more[0], pre(sample.more[1])));
    return el("div", { class: "folds" }, ...out, fold("Facts", facts(n, sample, r)));
  }
  function protocols(r) {
    const points = (score) => (score === null ? "·" : String(Math.round(score * 1000) / 1000));
    const detail = (one) => [one.reason, ...Object.entries(one.detail).map(([key, value]) => `${key} ${Array.isArray(value) ? value.join(", ") : value}`)].filter(Boolean).join("; ");
    const lines = r.protocols.map((one) => el("tr", null, el("th", { scope: "row" }, one.protocol), ...[`${SIGNS[one.verdict] || ""} ${words(one.verdict)}`, points(one.score), one.extracted ?? "nothing", one.method, detail(one)].map((text) => el("td", { dir: "auto" }, text))));
    const head = ["protocol", "verdict", "score", "extracted", "how", "details"].map((text) => el("th", { scope: "col" }, text));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Other protocols" }, el("table", { class: "plain" }, el("thead", null, el("tr", null, ...head)), el("tbody", null, ...lines)));
  }
  function facts(n, sample, r) {
    const numbers = (values, unit) => Object.entries(values || {}).map(([key, value]) => `${key} ${typeof value === "number" ? Math.round(value * 1000) / 1000 : value}${unit}`).join(", ");
    const lines = [
      ["categories", kvl.columns.categories[n].map(name).join("; ")],
      ["shares a source with", sample.cluster],
      ...(r ? [["tokens", numbers(r.counts, "")], ["time", numbers(r.time, " s")], ...Object.entries(r.facts).map(([key, value]) => [words(key), value])] : []),
    ].filter((line) => line[1]);
    return el("table", { class: "plain facts-of" }, el("tbody", null, ...lines.map(([key, value]) => el("tr", null, el("th", { scope: "row" }, key), el("td", { dir: "auto" }, value)))));
  }

  // -- images ---------------------------------------------------------------------------------------------------------------------
  const source = (file) => (window.kvlMedia || {})[file] || `media/${file}`;
  const SMALL = 240; // pixels of an image's longest side up to which it is shown in double size
  const isHere = (medium) => medium.file && (!packed || medium.file in (window.kvlMedia || {}));
  const missing = (medium) => el("span", { class: "nopicture" }, packed ? "image not included; the folder form of the report has it" : `image not included, SHA-256 ${medium.sha}`);
  function frame(medium, alt, marks) {
    if (!isHere(medium)) return missing(medium);
    const box = el("span", { class: Math.max(...medium.size) <= SMALL ? "frame twice" : "frame" }, el("img", { src: source(medium.file), alt, width: medium.size[0], height: medium.size[1] }));
    if (marks) box.append(marks);
    return box;
  }
  function overlay(medium, r) {
    if (!r || (!r.box && !r.point)) return null;
    const [width, height] = medium.size, arm = Math.max(width, height) / 60;
    const over = drawing("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": [r.box ? "gold box" : "", r.point ? "point of the reply" : ""].filter(Boolean).join(" and ") });
    if (r.box) over.append(drawing("rect", { class: "gold-box", x: r.box[0], y: r.box[1], width: r.box[2] - r.box[0], height: r.box[3] - r.box[1] }));
    if (r.point) {
      const [x, y] = r.point, d = `M${x - 2 * arm} ${y}h${1.4 * arm}M${x + 0.6 * arm} ${y}h${1.4 * arm}M${x} ${y - 2 * arm}v${1.4 * arm}M${x} ${y + 0.6 * arm}v${1.4 * arm}`;
      for (const css of ["halo", "said-point"]) over.append(drawing("circle", { class: css, cx: x, cy: y, r: arm }), drawing("path", { class: css, d }));
    }
    return over;
  }
  const label = (medium, i) => medium.label || `${medium.kind} ${i + 1}`;
  function image(n, sample, r) {
    if (!sample.media.length) return [el("p", { class: "nothing" }, "No images in this sample.")];
    const i = Math.min(state.image, sample.media.length - 1), medium = sample.media[i];
    const marks = i === 0 ? overlay(medium, r) : null;
    const big = isHere(medium) ? el("button", { type: "button", class: "zoom", title: "Enlarge (z)" }, frame(medium, `${label(medium, i)} of sample ${kvl.columns.id[n]}`, marks)) : frame(medium, "", null);
    if (isHere(medium)) big.addEventListener("click", zoom);
    const key = (css, text) => el("span", { class: "k" }, el("span", { class: css }), text);
    const seen = medium.seen.length ? `, seen as ${medium.seen.join(" × ")}` : "";
    const several = sample.media.length > 1 ? `${label(medium, i)}: ` : "";
    const caption = el("p", { class: "caption" }, el("span", null, `${several}${medium.size.join(" × ")}${seen}${medium.note ? `, ${medium.note}` : ""}`),
      marks && r.box ? key("boxkey", "gold") : null, marks && r.point ? key("pointkey", `${kvl.runs[kvl.voices[state.voice].run].name} clicked`) : null);
    return [big, caption, strip(sample, i)].filter(Boolean);
  }
  function strip(sample, chosen) {
    if (sample.media.length < 2) return null;
    return el("div", { class: "strip", role: "group", "aria-label": "Images" }, ...sample.media.map((medium, i) => {
      const press = el("button", { type: "button", "aria-pressed": String(i === chosen), "aria-label": label(medium, i), title: label(medium, i) }, isHere(medium) ? el("img", { src: source(medium.file), alt: "", loading: "lazy", width: medium.size[0], height: medium.size[1] }) : String(i + 1));
      press.addEventListener("click", () => { state.image = i; show(); });
      return press;
    }));
  }
  function zoom() {
    const dialog = byId("zoom"), sample = kvl.sample;
    if (state.current === null || !sample || !sample.media.length) return;
    const i = Math.min(state.image, sample.media.length - 1), medium = sample.media[i];
    if (!isHere(medium)) return;
    const press = (text, action) => { const b = el("button", { type: "button" }, text); b.addEventListener("click", action); return b; };
    dialog.className = "";
    dialog.replaceChildren(el("div", { class: "zooms" }, press("close", () => dialog.close()), ...[1, 2, 3].map((by) => press(`${by}00 %`, () => { dialog.className = by === 1 ? "" : `x${by}`; }))),
      frame(medium, `${label(medium, i)}, enlarged`, i === 0 ? overlay(medium, sample.replies[state.voice]) : null));
    dialog.showModal();
  }
  byId("zoom").addEventListener("click", (event) => { if (event.target === byId("zoom")) byId("zoom").close(); });

  // -- address and keys --------------------------------------------------------------------------------------------------------------
  function address(n, voice) {
    const p = new URLSearchParams();
    for (const [key, value] of new FormData(form)) if (value) p.set(key, value);
    if (n !== null) { p.set("id", kvl.columns.id[n]); if (!p.get("task")) p.set("of", task(n)); }
    if (n !== null && voice !== null) p.set("tab", [kvl.voices[voice].run, kvl.voices[voice].key].filter((part) => part !== "").join("/"));
    return window.kvlAddress.href("samples", String(p));
  }
  const ALIASES = { verdict: "outcome", part: "cause", flipped: "differ" }; // of addresses that other pages and versions wrote
  function parameters() {
    const p = new URLSearchParams(window.kvlAddress.read("samples"));
    for (const [old, now] of Object.entries(ALIASES)) if (p.get(old) && !p.get(now)) p.set(now, p.get(old));
    if (p.get("truncated")) p.set("outcome", "truncated");
    const byRunId = kvl.runs.findIndex((run) => run.id === p.get("run"));
    if (byRunId >= 0) p.set("run", String(byRunId));
    return p;
  }
  function voiceNamed(text) {
    const [run, ...key] = String(text).split("/");
    const found = kvl.voices.findIndex((voice) => String(voice.run) === run && voice.key === key.join("/"));
    return found < 0 ? null : found;
  }
  function wantedRow(p) {
    const ids = kvl.columns.id, of = p.get("of") || p.get("task");
    if (p.get("id") !== null) { const n = ids.findIndex((id, i) => id === p.get("id") && (!of || task(i) === of)); return n < 0 ? undefined : n; }
    const whole = p.get("sample"); // `0/mathvista/17/r1/b1024cut`: run, task, id, voice
    if (!whole) return undefined;
    const rest = whole.slice(whole.indexOf("/") + 1);
    for (let n = 0; n < state.size; n += 1) {
      const own = `${task(n)}/${ids[n]}`;
      if (rest === own || rest.startsWith(`${own}/r`) || rest.startsWith(`${own}/b`)) {
        const voice = voiceNamed([whole.slice(0, whole.indexOf("/")), rest.slice(own.length + 1)].filter(Boolean).join("/"));
        if (voice !== null || rest === own) { state.voice = voice; return n; }
      }
    }
    return undefined;
  }
  function readAddress() {
    const p = parameters();
    for (const field of form.elements) {
      if (!field.name) continue;
      const value = p.get(field.name) || "";
      if (field.type === "checkbox") field.checked = Boolean(value);
      else { field.value = value; if (field.tagName === "SELECT" && field.value !== value) field.value = ""; }
    }
    const tab = p.get("tab") === null ? null : voiceNamed(p.get("tab"));
    filter(wantedRow(p), tab);
  }
  let typing = 0;
  const changed = () => { filter().then(() => history.replaceState(null, "", address(state.current, state.voice))); };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => { clearTimeout(typing); typing = setTimeout(changed, event.target.type === "search" ? 180 : 0); });
  form.addEventListener("reset", () => setTimeout(changed, 0));
  window.addEventListener("hashchange", readAddress);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("zoom").open || !kvl.columns || !form.offsetParent) return;
    const target = event.target;
    if (target.matches && target.matches('input[type="search"], textarea')) { if (event.key === "Escape") target.blur(); return; }
    const chosen = target.tagName === "SELECT", inList = list.contains(target);
    const run = Number(event.key) - 1;
    if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "ArrowDown" && inList) go(1);
    else if (event.key === "ArrowUp" && inList) go(-1);
    else if (/^[1-9]$/.test(event.key) && state.current !== null && kvl.runs[run]) { const v = voiceOfRun(state.current, run, state.wanted.unchosen); if (v !== undefined) say(v); }
    else if (event.key === "/") form.elements.q.focus();
    else if (chosen) return;
    else if (event.key === "r") { state.rich = !state.rich; show(); }
    else if (event.key === "z") zoom();
    else if (event.key === "b") document.body.classList.toggle("no-boxes");
    else return;
    if (chosen || inList || event.key === "/") event.preventDefault();
  });
})();
