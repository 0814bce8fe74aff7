"use strict";
// Sorting of tables, and what the figures do on demand. The page is readable without any of it.

(() => {
  for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
  for (const legend of document.querySelectorAll(".legend")) makeLegend(legend);

  function makeSortable(table) {
    const heads = [...table.querySelectorAll("thead th[data-sort]")];
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "ascending" : "descending");
        sortRows(table, columnOf(head), head.dataset.sort, down ? 1 : -1);
      });
    }
  }

  // The column of a header cell, counting spans: two header rows, the second under grouped cells.
  function columnOf(head) {
    const taken = [];
    const rows = [...head.closest("thead").rows];
    for (const [r, row] of rows.entries()) {
      let column = 0;
      for (const cell of row.cells) {
        while (taken[r]?.[column]) column += 1;
        if (cell === head) return column;
        for (let i = 0; i < cell.rowSpan; i += 1)
          for (let j = 0; j < cell.colSpan; j += 1) (taken[r + i] ??= [])[column + j] = true;
        column += cell.colSpan;
      }
    }
    return 0;
  }

  function sortRows(table, column, kind, sign) {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, place) => {
      const cell = row.cells[column];
      const text = cell.dataset.value ?? cell.textContent.trim();
      return { row, place, key: kind === "number" ? Number.parseFloat(text) : text.toLowerCase() };
    });
    const empty = (key) => key === "" || Number.isNaN(key);
    keyed.sort((a, b) => {
      if (empty(a.key) !== empty(b.key)) return empty(a.key) ? 1 : -1; // no value: always last
      if (empty(a.key) || a.key === b.key) return a.place - b.place;
      return sign * (kind === "number" ? a.key - b.key : a.key.localeCompare(b.key));
    });
    body.append(...keyed.map(({ row }) => row));
  }

  // A legend's entry becomes a switch: hide or show the method's line.
  function makeLegend(legend) {
    const section = document.getElementById(legend.dataset.for);
    for (const item of legend.children) {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...item.childNodes);
      item.append(button);
      const groups = () =>
        [...section.querySelectorAll("g.series")].filter(
          (group) => group.dataset.series === item.dataset.series,
        );
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!shown));
        for (const group of groups()) group.classList.toggle("off", shown);
      });
      const raise = (on) => () => {
        for (const group of groups()) group.classList.toggle("strong", on);
      };
      button.addEventListener("pointerenter", raise(true));
      button.addEventListener("pointerleave", raise(false));
      button.addEventListener("focus", raise(true));
      button.addEventListener("blur", raise(false));
    }
  }
})();
