// What every page does: addresses, theme, menus. Without this script pages are plain documents.
"use strict";
document.documentElement.classList.add("js");

// Addresses: one file for each page, or all pages in one file.
window.kvlAddress = {
  packed: "packed" in document.documentElement.dataset,
  read(page) { if (!this.packed) return location.hash.slice(1); const found = location.hash.match(/^#\/([\w-]+)\?(.*)$/); return found && found[1] === page ? found[2] : ""; },
  href(page, text) { return this.packed ? `#/${page}?${text}` : `#${text}`; },
};

const stored = { get: (key) => { try { return localStorage.getItem(key); } catch { return null; } }, set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* from disk some browsers refuse */ } } };
const themes = ["system", "light", "dark"];
const button = document.getElementById("theme");
function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  button.setAttribute("aria-label", `Color theme: ${name === "system" ? "as the system" : name}`);
  stored.set("kvl-theme", name);
}
if (button) {
  button.hidden = false;
  theme(themes.includes(stored.get("kvl-theme")) ? stored.get("kvl-theme") : "system");
  button.addEventListener("click", () => theme(themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % 3]));
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") for (const open of document.querySelectorAll(".drop[open]")) { open.open = false; open.firstElementChild.focus(); } });
if (!matchMedia("(min-width: 1001px)").matches) for (const menu of document.querySelectorAll(".menu")) menu.open = false;
