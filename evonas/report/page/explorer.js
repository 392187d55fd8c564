"use strict";
// A chart of a table of runs whose columns the reader chooses: one column over another, means over the rows that share a point.
const Explorer = (() => {
  const [LINES, PANELS] = [24, 12]; // the most values of a column that may tell lines, or panels, apart

  const isNumber = (values) => values.some((value) => value !== null) && values.every((value) => value === null || typeof value === "number");
  const distinct = (values) => [...new Set(values.map((value) => (value === null ? "" : String(value))))];

  // {panel: {line: [[x, mean, mean - sd, mean + sd]]}} of the columns of a table
  function grouped(columns, { x, y, line, panel }) {
    const panels = {};
    const size = columns[y].length;
    const text = (name, row) => (name === "" ? "" : columns[name][row] === null ? "" : String(columns[name][row]));
    for (let row = 0; row < size; row += 1) {
      const [at, value] = [columns[x][row], columns[y][row]];
      if (at === null || at === "" || value === null) continue;
      const series = (panels[text(panel, row)] ??= {});
      const points = (series[text(line, row)] ??= new Map());
      if (!points.has(at)) points.set(at, []);
      points.get(at).push(value);
    }
    for (const series of Object.values(panels)) {
      for (const [name, points] of Object.entries(series)) {
        const kept = [...points].map(([at, values]) => {
          const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
          const sd = values.length > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)) : 0;
          return [at, mean, mean - sd, mean + sd];
        });
        series[name] = typeof kept[0][0] === "number" ? kept.sort((a, b) => a[0] - b[0]) : kept;
      }
    }
    return panels;
  }

  // columns: {name: values}; axes: {x, y, line, panel, logx, logy} at the start, where the table has these columns
  function make(columns, axes) {
    const names = Object.keys(columns);
    const numbers = names.filter((name) => isNumber(columns[name]));
    const few = (most) => names.filter((name) => distinct(columns[name]).length > 1 && distinct(columns[name]).length <= most);
    const ys = numbers.filter((name) => name !== "seed");
    if (!ys.length) return null;
    const [lines, panels] = [few(LINES), few(PANELS)];
    const start = (wanted, among, otherwise) => (among.includes(wanted) ? wanted : otherwise);
    const state = {
      x: start(axes.x, names, names[0]), y: start(axes.y, ys, ys[0]), line: start(axes.line[0], lines, ""),
      panel: start(axes.panel[0], panels, ""), logx: axes.logx, logy: axes.logy, dots: true,
    };
    const chart = Dom.element("div", { class: "chart" });
    const refresh = () => {
      const logx = state.logx && numbers.includes(state.x);
      Plots.lines(chart, { ...state, logx, xlabel: state.x, ylabel: state.y, panels: grouped(columns, state) });
    };
    const choose = (key, title, among, none) => {
      const select = Dom.element("select", { "data-axis": key, change: () => {
        state[key] = select.value;
        refresh();
      } }, none ? Dom.element("option", { value: "" }, none) : null, among.map((name) => Dom.element("option", { value: name }, name)));
      select.value = state[key];
      return Dom.element("label", {}, title, select);
    };
    const tick = (key, title) => {
      const box = Dom.element("input", { type: "checkbox", change: () => {
        state[key] = box.checked;
        refresh();
      } });
      box.checked = state[key];
      return Dom.element("label", {}, box, title);
    };
    const tools = Dom.element("div", { class: "axes" }, choose("y", "upwards", ys), choose("x", "across", names),
      choose("line", "a line for each", lines, "nothing"), choose("panel", "a panel for each", panels, "nothing"), tick("logx", "log across"), tick("logy", "log upwards"));
    return { node: Dom.element("div", {}, tools, chart), refresh };
  }

  return { make };
})();
