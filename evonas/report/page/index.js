"use strict";
// The page that lists all runs below a folder.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.runs.map((run, place) => ({ ...run, id: String(place) }));
  const number = (name, width, value, show) => ({ name, width, value, show: (row) => show(value(row)), number: true });
  const columns = [
    { name: "run", width: "minmax(240px, 2fr)", value: (row) => row.folder, show: (row) => Dom.element("span", { title: row.folder }, row.folder) },
    { name: "state", width: "110px", value: (row) => row.state, show: (row) => Dom.badge(row.state) },
    { name: "kind", width: "100px", value: (row) => row.kind, show: (row) => row.kind },
    number("best", "84px", (row) => row.score, Format.score),
    { name: "best layer", width: "minmax(220px, 3fr)", value: (row) => row.problem || row.formula, show: (row) => (row.problem
      ? Dom.element("span", { class: "down", title: row.problem }, row.problem)
      : Dom.element("code", { title: row.formula }, row.formula)) },
    number("done", "84px", (row) => row.evaluations, Format.count),
    number("core-hours", "100px", (row) => row.core_hours, Format.short),
    { name: "changed", width: "170px", value: (row) => row.changed, show: (row) => row.changed.slice(0, 16).replace("T", " ") },
  ];
  const table = LongTable.make({
    rows, columns, label: "runs", first: 7, downwards: true,
    choices: [{ name: "state", value: (row) => row.state }, { name: "kind", value: (row) => row.kind }],
    words: (row) => [row.folder, row.formula, row.problem].join(" "),
  });
  document.getElementById("page").replaceChildren(
    Dom.element("header", { class: "top" }, Dom.element("h1", {}, `Runs in ${data.folder}`),
      Dom.note(`written ${data.written} by evonas ${data.version}; times of changes are in UTC`)),
    table.node);
  table.refresh();
})();
