// Asks for live.json every two seconds while a run goes on, and shows it. All texts enter the page as text nodes.
"use strict";

const EVERY = 2000; // milliseconds
const SIGNS = { correct: "✓", partial: "◐", wrong: "✗", no_answer: "∅", not_scored: "–", failed: "!", ok: "·" };
const byId = (id) => document.getElementById(id);

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== null) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

const percent = (value) => (100 * value).toFixed(1);
const readable = (text) => text.replaceAll("_", " ");

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function taskRow(task) {
  const done = task.ok + task.failed;
  const why = task.reasons.map(([reason, count]) => `${reason} ${count}`).join(", ");
  return el("tr", null,
    el("th", { scope: "row" }, task.title, " ", el("span", { class: "muted" }, task.task)),
    el("td", { class: "tight" }, el("progress", { max: task.planned, value: done, "aria-label": `${task.title}: ${done} of ${task.planned}` }), ` ${done}`),
    el("td", { class: "num" }, String(task.planned)),
    el("td", { class: "num strong" }, task.score === null ? "" : percent(task.score)),
    el("td", { class: "tight" }, task.ci95 ? `[${percent(task.ci95[0])}, ${percent(task.ci95[1])}]` : ""),
    el("td", { class: "num" }, String(task.failed), why ? el("span", { class: "muted" }, ` ${why}`) : ""));
}

function card(one) {
  const variant = [one.repeat ? `repeat ${one.repeat}` : "", one.budget === null ? "" : `budget ${one.budget}`].filter(Boolean);
  const facts = [one.reason, one.seconds === null || one.seconds === undefined ? "" : `${one.seconds.toFixed(1)} s`, `${one.tokens} tokens`].filter(Boolean);
  return el("article", { class: "card" },
    el("h3", null, `${one.task} ${one.id}`, ...variant.map((text) => `, ${text}`), " ", el("span", { class: `v-${one.verdict}` }, `${SIGNS[one.verdict] || ""} ${readable(one.verdict)}`)),
    el("p", { dir: "auto" }, one.question),
    el("pre", { dir: "auto", tabindex: "0", "aria-label": "Answer" }, one.answer || "no text"),
    el("p", { class: "muted" }, `gold ${one.gold || "unknown"} · ${facts.join(" · ")}`));
}

function show(state) {
  const done = state.tasks.reduce((sum, task) => sum + task.ok + task.failed, 0);
  const planned = state.tasks.reduce((sum, task) => sum + task.planned, 0);
  const left = state.status === "running" && state.seconds_left !== null && state.left ? `, about ${duration(state.seconds_left)} left` : "";
  document.title = `${done}/${planned} ${state.model}`;
  byId("title").textContent = state.model;
  byId("demo").hidden = !state.demo_text;
  byId("demo-text").textContent = state.demo_text;
  byId("status").textContent = `${state.run_id}: ${state.status}, ${done} of ${planned} answers${left}.`;
  byId("tasks").replaceChildren(...state.tasks.map(taskRow));
  byId("last").replaceChildren(...state.last.map(card));
  byId("report").hidden = !state.report;
  if (state.status !== "running") byId("status").append(" ", state.report ? el("a", { href: "index.html" }, "Open the report") : state.problem ? "" : "The report is being written …");
}

function trouble(text) {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text;
}

async function poll() {
  let over = false;
  try {
    const reply = await fetch("live.json", { cache: "no-store" });
    if (!reply.ok) throw new Error(reply.status === 404 ? "No run is in progress." : `The server answered ${reply.status}.`);
    const state = await reply.json();
    show(state);
    trouble(state.problem);
    over = state.status !== "running" && (state.report || state.problem);
  } catch (error) {
    trouble(error instanceof TypeError ? "kvl-eval view has stopped; this page shows the last state." : String(error.message));
  }
  if (!over) setTimeout(poll, EVERY);
}

poll();
