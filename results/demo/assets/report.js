// Makes tables of class `sortable` sortable by their column heads. Without this script they are plain tables.
"use strict";

function cellValue(row, column) {
  const text = row.cells[column] ? row.cells[column].innerText.trim() : "";
  const number = parseFloat(text.replace(/^[^\d+\-.]*(?=[+\-]?[\d.])/, "").replace(/,/g, ""));
  return { text, number: /\d/.test(text) && !Number.isNaN(number) ? number : null };
}

function sortTable(table, head, column) {
  const numeric = head.classList.contains("num");
  const before = head.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric; // numbers start with the largest
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const keyed = [...body.rows].filter((row) => !row.classList.contains("group")).map((row) => ({ row, ...cellValue(row, column) }));
    keyed.sort((a, b) => {
      if (!a.text || !b.text) return (a.text ? 0 : 1) - (b.text ? 0 : 1); // empty cells last, whichever way
      const order = numeric ? (a.number ?? -Infinity) - (b.number ?? -Infinity) : a.text.localeCompare(b.text);
      return descending ? -order : order;
    });
    body.append(...keyed.map((entry) => entry.row));
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.dataset.sort === "none") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortTable(table, head, column));
    head.append(button);
  });
}
