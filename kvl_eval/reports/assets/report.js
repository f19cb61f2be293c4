// Makes tables of class `sortable` sortable by their column heads. Without this script they are plain tables.
"use strict";

function cellValue(row, column) {
  const text = row.cells[column] ? row.cells[column].innerText.trim() : "";
  const number = parseFloat(text.replace(/^[^\d+\-.]*(?=[+\-]?[\d.])/, "").replace(/,/g, ""));
  return { text, number: /\d/.test(text) && !Number.isNaN(number) ? number : null };
}

function compareRows(left, right, column, numeric) {
  const a = cellValue(left, column), b = cellValue(right, column);
  if (!a.text || !b.text) return (a.text ? 0 : 1) - (b.text ? 0 : 1); // empty cells last, whichever way
  return null ?? (numeric ? (a.number ?? -Infinity) - (b.number ?? -Infinity) : a.text.localeCompare(b.text));
}

function sortTable(table, head, column) {
  const descending = head.getAttribute("aria-sort") === "ascending" || (!head.getAttribute("aria-sort") && head.classList.contains("num"));
  const numeric = head.classList.contains("num");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((left, right) => {
      const empty = (cellValue(left, column).text ? 0 : 1) - (cellValue(right, column).text ? 0 : 1);
      return empty || (descending ? -1 : 1) * compareRows(left, right, column, numeric);
    });
    body.append(...rows);
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
