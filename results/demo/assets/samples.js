// The sample browser. data/index.js calls kvl.index, chunk files call kvl.chunk; all texts enter the page as text nodes.
"use strict";

const SIGNS = { correct: "✓", partial: "◐", wrong: "✗", no_answer: "∅", not_scored: "–", failed: "!", pending: "…" };
const PAGE = 100; // samples added to the list at a time
const KEPT = 24; // chunks held in memory

const kvl = { chunks: new Map(), waiting: new Map(), rows: [], found: [], shown: 0, current: null, search: 0 };
window.kvl = kvl;
const byId = (id) => document.getElementById(id);
const form = byId("filters");

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== null) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

function drawn(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// -- data ----------------------------------------------------------------------------------------------------

kvl.index = (index) => {
  kvl.runs = index.runs;
  kvl.names = index.names;
  kvl.rows = index.rows.map((values) => Object.fromEntries(index.columns.map((column, i) => [column, values[i]])));
  fillFilters();
  byId("browser").hidden = false;
  readAddress();
};

kvl.chunk = (number, samples) => {
  kvl.chunks.set(number, samples);
  if (kvl.chunks.size > KEPT) kvl.chunks.delete(kvl.chunks.keys().next().value);
  const resolve = kvl.waiting.get(number);
  kvl.waiting.delete(number);
  if (resolve) resolve(samples);
};

function load(number) {
  if (kvl.chunks.has(number)) return Promise.resolve(kvl.chunks.get(number));
  return new Promise((resolve, reject) => {
    const before = kvl.waiting.get(number);
    kvl.waiting.set(number, (samples) => { if (before) before(samples); resolve(samples); });
    if (before) return;
    const script = el("script", { src: `data/c${number}.js` });
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => { kvl.waiting.delete(number); reject(new Error(`data/c${number}.js is missing`)); });
    document.head.append(script);
  });
}

// -- filters and list ------------------------------------------------------------------------------------------

const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const readable = (verdict) => verdict.replaceAll("_", " ");
const verdictOf = (row) => kvl.names[row.verdict];

function fillFilters() {
  const options = (name, entries, all, fewest = 2) => {
    form.elements[name].append(el("option", { value: "" }, all), ...entries.map(([value, text]) => el("option", { value }, text)));
    form.elements[name].closest("label").hidden = entries.length < fewest;
  };
  const used = (field) => [...new Set(kvl.rows.map((row) => row[field]))].map((number) => kvl.names[number]).filter(Boolean).sort();
  const categories = [...new Set(kvl.rows.flatMap((row) => row.categories))].map((number) => kvl.names[number]).sort();
  options("run", kvl.runs.map((run, i) => [String(i), `${run.model} (${run.id})`]), "all runs");
  options("task", used("task").map((name) => [name, name]), "all tasks");
  options("verdict", used("verdict").map((name) => [name, `${SIGNS[name] || ""} ${readable(name)}`]), "all verdicts");
  options("category", categories.map((name) => [name, name]), "all categories");
  options("budget", used("budget").map((name) => [name, name]), "all budgets");
  options("reason", used("reason").map((name) => [name, name]), "any reason");
  options("flag", [...new Set(kvl.rows.flatMap((row) => row.flags))].map((number) => kvl.names[number]).sort().map((name) => [name, name]), "anything", 1);
  form.elements.truncated.closest("label").hidden = !kvl.rows.some((row) => row.truncated);
  form.elements.flipped.closest("label").hidden = !kvl.rows.some((row) => row.flipped);
}

function passes(row, wanted) {
  const named = (field) => !wanted[field] || kvl.names[row[field]] === wanted[field];
  return (!wanted.run || String(row.run) === wanted.run) && named("task") && named("budget") && named("verdict") && named("reason")
    && (!wanted.category || row.categories.some((number) => kvl.names[number] === wanted.category))
    && (!wanted.flag || row.flags.some((number) => kvl.names[number] === wanted.flag))
    && (!wanted.truncated || row.truncated) && (!wanted.flipped || row.flipped);
}

function holds(sample, query) {
  const texts = [sample.question, sample.prompt, sample.thinking, sample.answer, sample.raw, sample.gold, ...sample.scores.map((score) => score.extracted)];
  return texts.some((text) => text && text.toLowerCase().includes(query));
}

async function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const query = (wanted.q || "").trim().toLowerCase();
  const turn = ++kvl.search;
  const left = kvl.rows.filter((row) => passes(row, wanted));
  const quick = (row) => row.id.toLowerCase().includes(query) || row.question.toLowerCase().includes(query);
  const matching = new Set(query ? left.filter(quick) : left);
  present(left.filter((row) => matching.has(row)), "");
  if (!query) return;
  const chunks = [...new Set(left.filter((row) => !matching.has(row)).map((row) => row.chunk))];
  for (const [done, number] of chunks.entries()) {
    const samples = await load(number);
    if (turn !== kvl.search) return; // a newer search has begun
    for (const row of left) if (row.chunk === number && holds(samples[row.place], query)) matching.add(row);
    if (done % 20 === 19 || done === chunks.length - 1) {
      const rest = chunks.length - done - 1;
      present(left.filter((row) => matching.has(row)), rest ? `, searching (${rest} parts left)` : "");
    }
  }
}

function present(found, progress) {
  kvl.found = found;
  kvl.shown = 0;
  byId("list").replaceChildren();
  byId("count").textContent = `${found.length.toLocaleString("en")} of ${kvl.rows.length.toLocaleString("en")} samples${progress}`;
  more();
  mark();
}

function more() {
  const next = kvl.found.slice(kvl.shown, kvl.shown + PAGE);
  kvl.shown += next.length;
  byId("list").append(...next.map(item));
  byId("more").hidden = kvl.shown >= kvl.found.length;
}

function variant(row) {
  return [row.repeat ? `repeat ${row.repeat}` : "", kvl.names[row.budget] ? `budget ${kvl.names[row.budget]}` : ""].filter(Boolean);
}

function item(row) {
  const verdict = verdictOf(row);
  const where = kvl.runs.length > 1 ? `${kvl.names[row.task]}, ${kvl.runs[row.run].model}` : kvl.names[row.task];
  const link = el("a", { href: address({ sample: row.key }), class: verdict, "data-key": row.key },
    el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[verdict] || "?"),
    el("span", { class: "name", dir: "auto" }, row.question || row.id),
    el("span", { class: "sub" }, [row.id, ...variant(row), readable(verdict), where].join(" · ")));
  return el("li", null, link);
}

// -- address -----------------------------------------------------------------------------------------------------

function address(changes) {
  const parameters = new URLSearchParams();
  for (const [key, value] of [...new FormData(form), ...Object.entries(changes)]) if (value) parameters.set(key, value);
  return `#${parameters}`;
}

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  let changed = !kvl.search;
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = parameters.get(field.name) || "";
    if (field.type === "checkbox") { changed ||= field.checked !== Boolean(value); field.checked = Boolean(value); }
    else { changed ||= field.value !== value; field.value = value; }
  }
  if (changed) filter();
  const wanted = kvl.rows.find((row) => row.key === parameters.get("sample")) || (kvl.current ? null : kvl.found[0]);
  if (wanted && wanted !== kvl.current) open(wanted);
}

function go(step) {
  const place = kvl.found.indexOf(kvl.current) + step;
  if (place >= 0 && place < kvl.found.length) location.hash = address({ sample: kvl.found[place].key });
}

// -- one sample ----------------------------------------------------------------------------------------------------

async function open(row) {
  kvl.current = row;
  mark();
  try {
    const samples = await load(row.chunk);
    if (kvl.current === row) byId("sample").replaceChildren(...page(row, samples[row.place]));
  } catch (error) {
    byId("sample").replaceChildren(el("p", { class: "mark" }, String(error.message)));
  }
}

function mark() {
  for (const link of byId("list").querySelectorAll("a")) {
    const current = kvl.current !== null && link.dataset.key === kvl.current.key;
    if (current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    if (current) link.scrollIntoView({ block: "nearest" });
  }
}

function page(row, sample) {
  const verdict = verdictOf(row);
  const place = kvl.found.indexOf(row);
  const step = (text, by) => {
    const button = el("button", { type: "button" }, text);
    button.disabled = place + by < 0 || place + by >= kvl.found.length;
    button.addEventListener("click", () => go(by));
    return button;
  };
  return [
    el("div", { class: "steps" }, step("← Previous", -1), step("Next →", 1),
      el("a", { href: `#${new URLSearchParams({ sample: row.key })}` }, "link to this sample")),
    el("h2", null, `${[`${kvl.names[row.task]} ${row.id}`, ...variant(row)].join(", ")} `, el("span", { class: `v-${verdict}` }, `${SIGNS[verdict] || ""} ${readable(verdict)}`)),
    sample.status === "failed" ? el("p", { class: "mark" }, `failed: ${sample.reason}${sample.message ? `: ${sample.message}` : ""}`) : null,
    sample.status === "pending" ? el("p", { class: "mark" }, "not answered yet") : null,
    ...section("Images", pictures(sample)),
    ...section("Question", block(sample.question)),
    sample.choices.length ? el("ol", { type: "A" }, ...sample.choices.map((choice) => el("li", { dir: "auto" }, choice))) : null,
    ...section("Answer", block(sample.answer || sample.raw)),
    ...section("Gold answer", block(sample.gold)),
    ...section("Verdicts", verdicts(sample)),
    sample.thinking ? folded(`Thought, ${counted(sample.tokens.thinking || 0, "token")}`, sample.thinking) : null,
    sample.prompt ? folded("Exact prompt", sample.prompt) : null,
    sample.row ? folded("Row of the data set", sample.row) : null,
    ...section("Facts", facts(row, sample)),
  ].filter((node) => node !== null);
}

const section = (title, node) => (node ? [el("h3", null, title), node] : []);
const block = (text) => (text ? el("pre", { dir: "auto", tabindex: "0" }, text) : null);
const folded = (title, text) => el("details", null, el("summary", null, title), block(text));

function pictures(sample) {
  if (!sample.media || !sample.media.length) return null;
  const strip = sample.media.length > 2 ? "pictures strip" : "pictures";
  return el("div", null, el("div", { class: strip }, ...sample.media.map((medium, i) => figure(medium, i, i ? [] : sample.scores))),
    sample.more.length ? folded(...sample.more) : null);
}

function figure(medium, i, scores) {
  const [width, height] = medium.size;
  const name = medium.label || `${medium.kind} ${i + 1}`;
  const seen = medium.seen.length ? `, seen as ${medium.seen.join(" × ")}` : "";
  const tokens = medium.tokens ? `, ${counted(medium.tokens, "token")}` : "";
  const caption = `${name}: ${width} × ${height}${seen}${tokens}${medium.note ? `, ${medium.note}` : ""}`;
  if (!medium.file) return el("figure", null, el("div", { class: "nopicture" }, `image not stored, sha256 ${medium.sha}`), el("figcaption", null, caption));
  const image = el("img", { src: `media/${medium.file}.webp`, alt: `${name} of the question`, width, height, loading: "lazy" });
  return el("figure", null, el("div", { class: "frame" }, image, ...overlay(width, height, scores)), el("figcaption", null, caption));
}

function overlay(width, height, scores) {
  const detail = Object.assign({}, ...scores.map((score) => score.detail).reverse());
  const box = detail.box || detail.bbox, point = detail.point;
  if (!Array.isArray(box) && !Array.isArray(point)) return [];
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": "gold box and predicted point" });
  if (Array.isArray(box)) svg.append(drawn("rect", { class: "box", x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1] }));
  if (Array.isArray(point)) svg.append(drawn("circle", { class: "point", cx: point[0], cy: point[1], r: Math.max(4, Math.max(width, height) / 60) }));
  return [svg];
}

function rows(head, lines) {
  const cells = lines.map((line) => el("tr", null, el("th", { scope: "row" }, line[0]), ...line.slice(1).map((text) => el("td", { class: "text", dir: "auto" }, text))));
  const titles = head ? [el("thead", null, el("tr", null, ...head.map((title) => el("th", { scope: "col" }, title))))] : [];
  return el("table", head ? null : { class: "facts" }, ...titles, el("tbody", null, ...cells));
}

function verdicts(sample) {
  if (!sample.scores.length) return null;
  const lines = sample.scores.map((score) => {
    const detail = Object.entries(score.detail).map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(", ") : value}`);
    const why = [score.reason, ...detail, score.judge ? `judge: ${score.judge}` : ""].filter(Boolean).join("; ");
    const points = score.score === null ? "" : String(Math.round(score.score * 1000) / 1000);
    return [score.protocol, `${SIGNS[score.verdict] || ""} ${readable(score.verdict)}`, points, score.extracted ?? "nothing", score.method, why];
  });
  const table = rows(["protocol", "verdict", "score", "extracted", "how", "details"], lines);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Verdicts" }, table);
}

function facts(row, sample) {
  const numbers = (values, unit) => Object.entries(values || {}).map(([name, value]) => `${name} ${typeof value === "number" ? Math.round(value * 1000) / 1000 : value}${unit}`).join(", ");
  const lines = [
    ["run", `${kvl.runs[row.run].model} (${kvl.runs[row.run].id})`],
    ["categories", row.categories.map((number) => kvl.names[number]).join("; ")],
    ["cluster", sample.cluster],
    ["tokens", numbers(sample.tokens, "")],
    ["time", numbers(sample.time, " s")],
    ...Object.entries(sample.facts || {}).map(([name, value]) => [name.replaceAll("_", " "), value]),
  ].filter((line) => line[1]);
  return rows(null, lines);
}

// -- events --------------------------------------------------------------------------------------------------------

let typing = 0;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { location.replace(address(kvl.current ? { sample: kvl.current.key } : {})); filter(); }, event.target.type === "search" ? 250 : 0);
});
form.addEventListener("reset", () => setTimeout(() => { location.replace(address({})); filter(); }, 0));
byId("more").addEventListener("click", more);
window.addEventListener("hashchange", readAddress);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const inside = event.target.closest && event.target.closest("pre, .scroll"); // arrows scroll there
  if (event.key === "j" || (event.key === "ArrowRight" && !inside)) go(1);
  else if (event.key === "k" || (event.key === "ArrowLeft" && !inside)) go(-1);
  else if (event.key === "/") { event.preventDefault(); form.elements.q.focus(); }
});
