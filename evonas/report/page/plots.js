"use strict";
// Charts of results: lines over a number in panels beside each other, and intervals of differences below each other.
const Plots = (() => {
  const ACROSS = 3; // panels beside each other, at most
  const { plain, faint, colour, layout, draw, INK } = Charts;

  // Where the panels are: [left, right] and [bottom, top] of each, as shares of the chart.
  function places(count) {
    const across = Math.min(count, ACROSS);
    const down = Math.ceil(count / across);
    const [gap, rise] = [0.07, 0.24 / down];
    const width = (1 - gap * (across - 1)) / across;
    const height = (1 - rise * (down - 1)) / down;
    return Array.from({ length: count }, (_, place) => {
      const left = (place % across) * (width + gap);
      const top = 1 - Math.floor(place / across) * (height + rise);
      return [[left, left + width], [Math.max(top - height, 0), top]];
    });
  }

  // chart: {xlabel, ylabel, panels: {title: {name: [[x, y, low, high]]}}, logx, logy, dots}; x may be texts
  function lines(node, chart) {
    const panels = Object.entries(chart.panels);
    const names = [...new Set(panels.flatMap(([, series]) => Object.keys(series)))];
    const where = places(panels.length);
    const rows = Math.ceil(panels.length / ACROSS);
    const traces = [];
    const shape = layout("", "", { annotations: [], showlegend: names.length > 1 });
    const { xaxis, yaxis } = shape;
    const shown = (value) => (chart.logy && value <= 0 ? null : value);
    panels.forEach(([title, series], place) => {
      const end = place ? String(place + 1) : "";
      const axes = { xaxis: `x${end}`, yaxis: `y${end}` };
      const lowest = place + ACROSS >= panels.length;
      const leftmost = place % ACROSS === 0;
      shape[`xaxis${end}`] = { ...xaxis, domain: where[place][0], anchor: `y${end}`, type: chart.logx ? "log" : "-", title: { text: lowest ? plain(chart.xlabel) : "", standoff: 8 }, tickformat: chart.logx ? "~g" : null, dtick: chart.logx ? "D2" : null, nticks: 7, automargin: true };
      shape[`yaxis${end}`] = { ...yaxis, domain: where[place][1], anchor: `x${end}`, type: chart.logy ? "log" : "-", title: { text: leftmost ? plain(chart.ylabel) : "", standoff: 8 }, tickformat: ".3~g", dtick: null, automargin: true, nticks: 7 };
      if (title) shape.annotations.push({ text: `<b>${plain(title)}</b>`, xref: "paper", yref: "paper", x: where[place][0][0], xanchor: "left", y: where[place][1][1], yanchor: "bottom", showarrow: false, font: { size: 12 } });
      for (const [name, points] of Object.entries(series)) {
        if (!points.length) continue;
        const tone = colour(names.indexOf(name));
        const [x, y, low, high] = [0, 1, 2, 3].map((at) => points.map((point) => (at ? shown(point[at]) : point[at])));
        const own = { ...axes, legendgroup: name, type: "scatter" };
        if (!chart.dots) {
          const edge = { ...own, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, x };
          traces.push({ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: faint(tone, 0.13) });
        }
        traces.push({
          ...own, name: plain(name), x, y, mode: !chart.dots ? "lines" : typeof x[0] === "number" ? "lines+markers" : "markers", line: { color: tone, width: chart.dots ? 1.4 : 2 }, marker: { color: tone, size: 7 },
          showlegend: !traces.some((other) => other.legendgroup === name && other.showlegend), customdata: points.map((point) => [Format.short(point[2]), Format.short(point[3])]),
          hovertemplate: `${plain(name)}<br>%{x}: %{y:.5g}<br>bar from %{customdata[0]} to %{customdata[1]}<extra></extra>`,
          ...(chart.dots ? { error_y: { type: "data", symmetric: false, array: y.map((value, at) => (high[at] ?? value) - value), arrayminus: y.map((value, at) => value - (low[at] ?? value)), thickness: 1.2, width: 3, color: faint(tone, 0.6) } } : {}),
        });
      }
    });
    node.style.height = `${110 + 290 * rows + 22 * Math.ceil(names.length / 5)}px`;
    draw(node, traces, { ...shape, margin: { l: 64, r: 24, t: 34, b: 56 }, legend: { orientation: "h", x: 0, y: 1 + 0.13 / rows, yanchor: "bottom", font: { size: 12 } } });
  }

  // bars: [{name, mean, low, high, dots, note}], the first one uppermost; `better` is the sign of what is better, and `open` is
  // called with the name of one that is clicked
  function intervals(node, bars, label, better, open) {
    const rows = [...bars].reverse();
    const shown = Charts.cut;
    const at = rows.map((_, place) => place);
    const known = at.filter((place) => rows[place].mean !== null);
    const beyond = (place) => {
      const { low, high } = rows[place];
      const sign = low === null ? 0 : better * ((low > 0) - (high < 0));
      return sign > 0 ? "#1f7a43" : sign < 0 ? "#b3261e" : "#5b6770";
    };
    const tone = known.map(beyond);
    const traces = [{
      type: "scatter", mode: "markers", hoverinfo: "skip", marker: { color: faint("#5b6770", 0.45), size: 5 },
      x: known.flatMap((place) => rows[place].dots), y: known.flatMap((place) => rows[place].dots.map(() => place - 0.22)),
    }, ...known.map((place, number) => ({
      type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: tone[number], width: 2.4 }, x: [rows[place].low, rows[place].high], y: [place, place],
    })), {
      type: "scatter", mode: "markers", marker: { color: tone, size: 9 }, x: known.map((place) => rows[place].mean), y: known,
      customdata: known.map((place) => [0, rows[place].name]),
      text: known.map((place) => {
        const { name, mean, low, high, note } = rows[place];
        const sign = (value) => `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toPrecision(3)}`;
        return [plain(shown(name, 90)), `${sign(mean)}${low === null ? "" : ` [${sign(low)}, ${sign(high)}]`}`, plain(note)].filter(Boolean).join("<br>");
      }),
      hovertemplate: "%{text}<extra></extra>",
    }];
    const notes = at.filter((place) => rows[place].note).map((place) => ({ xref: "paper", x: 1, xanchor: "right", y: place, text: plain(rows[place].note), showarrow: false, font: { size: 11, color: "#5a6675" }, bgcolor: "rgba(255,255,255,0.8)" }));
    const zero = { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: INK, width: 1 } };
    const yaxis = { tickvals: at, ticktext: rows.map(({ name }) => plain(shown(name, 44))), range: [-0.7, rows.length - 0.3], automargin: true, tickformat: null, zeroline: false };
    node.style.height = `${Math.max(rows.length * 34 + 80, 160)}px`;
    draw(node, traces, layout(label, "", { yaxis, annotations: notes, shapes: [zero], showlegend: false, xaxis: { tickformat: "~g", zeroline: false } }), open && ((_, name) => open(name)));
  }

  return { lines, intervals };
})();
