// Shows one step of one episode at a time; without this script all of them follow each other.
"use strict";
(() => {
  const journeys = [...document.querySelectorAll(".journey")], choice = document.getElementById("episode");
  const stepsOf = (journey) => [...journey.querySelectorAll(".step")];
  const linksOf = (journey) => [...journey.querySelectorAll(".film a")];
  let episode = 0, at = 0;

  function show(which, step, moved) {
    episode = Math.min(Math.max(which, 0), journeys.length - 1);
    const journey = journeys[episode], steps = stepsOf(journey), links = linksOf(journey);
    at = Math.min(Math.max(step, 0), Math.max(0, steps.length - 1));
    journeys.forEach((other, i) => other.classList.toggle("on", i === episode));
    steps.forEach((other, i) => other.classList.toggle("on", i === at));
    links.forEach((link, i) => { if (i === at) link.setAttribute("aria-current", "step"); else link.removeAttribute("aria-current"); });
    if (choice) choice.value = journey.id;
    const film = journey.querySelector(".film");
    if (links[at]) film.scrollLeft = links[at].offsetLeft - film.offsetLeft - film.clientWidth / 2 + links[at].offsetWidth / 2;
    if (moved) history.replaceState(null, "", window.kvlAddress.href("trajectory", steps[at] ? steps[at].id : journey.id));
  }
  function readAddress() {
    const name = window.kvlAddress.read("trajectory"), target = name && document.getElementById(name);
    const wanted = new URLSearchParams(name); // from the sample page: a journal and a run
    const journey = target ? target.closest(".journey") : journeys.find((other) => other.dataset.journal === wanted.get("journal") && other.dataset.run === wanted.get("run"));
    if (!journey) return false;
    const step = target && target.closest(".step");
    show(journeys.indexOf(journey), step ? stepsOf(journey).indexOf(step) : 0, false);
    return true;
  }
  journeys.forEach((journey, i) => linksOf(journey).forEach((link, k) => link.addEventListener("click", (event) => { event.preventDefault(); show(i, k, true); })));
  if (choice) {
    choice.closest("p").hidden = false;
    choice.addEventListener("change", () => show(journeys.findIndex((journey) => journey.id === choice.value), 0, true));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT" || !journeys[episode].offsetParent) return;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, j: at + 1, k: at - 1, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(episode, to === Infinity ? stepsOf(journeys[episode]).length - 1 : to, true);
  });
  window.addEventListener("hashchange", readAddress);
  if (!readAddress()) show(0, 0, false);
})();
