"use strict";
// Charts of one search or several, drawn by plotly.js.
const Charts = (() => {
  const COLOURS = ["#2f6db3", "#c13b2e", "#0f8577", "#7a4cb0", "#b87412", "#5b6770", "#b4519b", "#3b8ec2", "#757a1f"];
  const INK = "#1c2530";
  const MOST = 1500; // scored layers in a chart, the best ones; a browser draws more of them slowly
  const CONFIG = { displayModeBar: false, responsive: true };

  const colour = (place) => COLOURS[place % COLOURS.length];
  const faint = (hex, share) => {
    const [r, g, b] = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  };
  // plotly reads some markup in texts: their signs become entities, which it shows as they are
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}\u2026` : text);
  const hover = (row) => `#${plain(row.id)}: ${Format.score(row.score)}<br>${plain(cut(row.formula, 90))}`;

  function layout(xTitle, yTitle, more = {}) {
    const axis = { gridcolor: "#e6eaef", zerolinecolor: "#cfd6de", linecolor: "#aab3bd", ticks: "outside", tickcolor: "#aab3bd" };
    return {
      font: { family: "system-ui, sans-serif", size: 13, color: INK },
      paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", hovermode: "closest",
      margin: { l: 64, r: 24, t: 12, b: 52 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
      hoverlabel: { align: "left", font: { size: 12 } },
      ...more,
      xaxis: { ...axis, title: { text: plain(xTitle), standoff: 8 }, ...more.xaxis },
      yaxis: { ...axis, title: { text: plain(yTitle), standoff: 8 }, tickformat: ".3~f", ...more.yaxis },
    };
  }

  function draw(node, traces, shape, open) {
    Plotly.react(node, traces, shape, CONFIG);
    if (open && !node.dataset.opens) {
      node.dataset.opens = "yes";
      node.on("plotly_click", ({ points }) => {
        const found = points[0].customdata;
        if (found) open(found[0], found[1]);
      });
    }
  }

  // Lines at the scores of known layers; near ones share a label.
  function levels(run) {
    const known = run.baselines.filter((row) => row.score !== null).sort((a, b) => a.score - b.score);
    const shapes = known.map((row) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: row.score, y1: row.score, line: { color: INK, width: 1, dash: "dot" }, opacity: 0.6 }));
    const scores = run.rows.map((row) => row.score).filter((score) => score !== null);
    const span = Math.max(...scores, ...known.map((row) => row.score)) - Math.min(...known.map((row) => row.score), ...scores.slice(0, 1));
    const groups = [];
    for (const row of known) {
      const last = groups[groups.length - 1];
      if (last && row.score - last.y < 0.05 * span) last.names.push(row.id);
      else groups.push({ y: row.score, names: [row.id] });
    }
    const annotations = groups.map(({ y, names }) => ({ xref: "paper", x: 1, xanchor: "right", y, yanchor: "bottom", text: plain(names.join(", ")), showarrow: false, font: { size: 11 }, bgcolor: "rgba(255,255,255,0.7)", borderpad: 1 }));
    return { shapes, annotations };
  }

  const bestOnes = (rows) => [...rows].sort((a, b) => b.score - a.score).slice(0, MOST);

  // The best score so far of every search, and the belief in its best layer where it raced.
  function progress(node, runs, byCost, open) {
    const traces = [];
    for (const [place, run] of runs.entries()) {
      const steps = [];
      let best = -Infinity;
      for (const row of run.rows) {
        if (row.score !== null && row.score > best) {
          best = row.score;
          steps.push(row);
        }
      }
      if (!steps.length) continue;
      const at = (row) => (byCost ? row.cost : Number(row.id));
      const end = run.rows[run.rows.length - 1];
      const last = steps[steps.length - 1];
      traces.push({
        name: plain(`${run.title}: best so far`), type: "scatter", mode: "lines+markers", line: { shape: "hv", color: colour(place), width: 2.2 },
        marker: { size: [...steps.map(() => 6), 0] }, x: [...steps.map(at), at(end)], y: [...steps, last].map((row) => row.score),
        customdata: [...steps, last].map((row) => [run.place, row.id]), text: [...steps, last].map(hover), hovertemplate: "%{text}<extra></extra>",
      });
      if (!run.leaders.length) continue;
      const x = run.leaders.map(([index, cost]) => (byCost ? cost : index));
      const edge = (sign) => run.leaders.map(([, , , mean, sd]) => mean + sign * 1.96 * sd);
      const band = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: `p${place}` };
      traces.push({ ...band, x, y: edge(-1) }, { ...band, x, y: edge(1), fill: "tonexty", fillcolor: faint(colour(place), 0.14) });
      traces.push({
        name: plain(`${run.title}: posterior mean of the best layer, 95 %`), legendgroup: `p${place}`, type: "scatter", mode: "lines",
        line: { color: colour(place), width: 1.8, dash: "dash" }, x, y: run.leaders.map((point) => point[3]),
        customdata: run.leaders.map((point) => [run.place, String(point[2])]),
        text: run.leaders.map(([, , id, mean, sd]) => `#${plain(id)}: ${mean.toFixed(4)} \u00b1 ${(1.96 * sd).toFixed(4)}`), hovertemplate: "%{text}<extra></extra>",
      });
    }
    draw(node, traces, layout(byCost ? "core-seconds" : "candidate", "mean score", levels(runs[0])), open);
  }

  // Layers that no other one is better than in both; `sign` is 1 where larger values of the objective are better.
  function front(rows, value, sign) {
    const sorted = [...rows].sort((a, b) => sign * (value(b) - value(a)) || b.score - a.score);
    const kept = [];
    for (const row of sorted) {
      if (!kept.length || row.score > kept[kept.length - 1].score) kept.push(row);
    }
    return kept;
  }

  function pareto(node, runs, objective, open) {
    const { value, sign, title } = objective;
    const traces = [];
    for (const [place, run] of runs.entries()) {
      const scored = run.rows.filter((row) => row.score !== null && Number.isFinite(value(row)));
      const best = front(scored, value, sign);
      const cloud = bestOnes(scored);
      const shared = (rows) => ({
        type: "scatter", x: rows.map(value), y: rows.map((row) => row.score), customdata: rows.map((row) => [run.place, row.id]),
        text: rows.map(hover), hovertemplate: "%{text}<extra></extra>",
      });
      traces.push({ ...shared(cloud), mode: "markers", marker: { color: faint(colour(place), 0.35), size: 6 }, name: plain(`${run.title}: scored layers`) });
      traces.push({ ...shared(best), mode: "lines+markers", line: { color: colour(place), width: 1.6, shape: sign < 0 ? "hv" : "vh" }, marker: { size: 9, color: colour(place) }, name: plain(`${run.title}: front`) });
      const known = run.baselines.filter((row) => row.score !== null && Number.isFinite(value(row)));
      if (place === 0 && known.length) {
        traces.push({ ...shared(known), mode: "markers", marker: { color: INK, size: 9, symbol: "diamond-open", line: { width: 1.5 } }, name: "baselines" });
      }
    }
    draw(node, traces, layout(title, "mean score"), open);
  }

  // Scores when found against what is believed after measuring again.
  function shrinkage(node, run, open) {
    const rows = bestOnes(run.rows.filter((row) => row.posterior && !row.posterior[3]));
    const groups = [["measured once", rows.filter((row) => row.posterior[2] === 1), faint("#5b6770", 0.4)], ["measured again", rows.filter((row) => row.posterior[2] > 1), "#0f8577"]];
    const traces = groups.filter(([, group]) => group.length).map(([name, group, tone]) => ({
      name, type: "scatter", mode: "markers", marker: { color: tone, size: 7 }, x: group.map((row) => row.score), y: group.map((row) => row.posterior[0]),
      error_y: { type: "data", array: group.map((row) => 1.96 * row.posterior[1]), thickness: 1, width: 0, color: faint("#5b6770", 0.3) },
      customdata: group.map((row) => [run.place, row.id]), text: group.map(hover), hovertemplate: "%{text}<br>posterior mean %{y:.4f}<extra></extra>",
    }));
    const low = Math.min(...rows.map((row) => row.score));
    const high = Math.max(...rows.map((row) => row.score));
    traces.unshift({ name: "as when found", type: "scatter", mode: "lines", x: [low, high], y: [low, high], line: { color: INK, width: 1, dash: "dot" }, hoverinfo: "skip" });
    draw(node, traces, layout("score when found", "posterior mean, 95 %", { xaxis: { tickformat: ".3~f" } }), open);
  }

  // The output of a layer and its derivative; the dotted line is the input itself, the area that of the group, if there is one.
  function response(node, xs, points, group) {
    const line = (name, y, more) => ({ name, type: "scatter", mode: "lines", x: xs, y: y.map((value) => (Number.isFinite(value) ? value : null)), hovertemplate: "%{x:.3g}: %{y:.5g}<extra></extra>", ...more });
    const traces = [
      line("x", xs, { line: { color: "#aab3bd", width: 1, dash: "dot" }, hoverinfo: "skip", hovertemplate: null }),
      line("y = f(x)", points.map((point) => point[0]), { line: { color: COLOURS[0], width: 2.4 } }),
      line("dy/dx", points.map((point) => point[1]), { line: { color: COLOURS[1], width: 1.6, dash: "dash" } }),
    ];
    const finite = points.map((point) => point[0]).filter(Number.isFinite).sort((a, b) => a - b);
    const [low, high] = [finite[0] ?? -1, finite[finite.length - 1] ?? 1];
    const limit = (value) => Math.max(-12, Math.min(12, value));
    const margin = 0.08 * (limit(high) - limit(low) || 1);
    const slopes = points.map((point) => point[1]).filter(Number.isFinite);
    const range = [Math.min(limit(low), Math.max(-3, Math.min(...slopes, 0))) - margin, Math.max(limit(high), Math.min(3, Math.max(...slopes, 0))) + margin];
    const shapes = !group ? [] : [{ type: "rect", yref: "paper", y0: 0, y1: 1, x0: group.mu - 2 * group.sigma, x1: group.mu + 2 * group.sigma, fillcolor: "#2a8a50", opacity: 0.06, line: { width: 0 } }];
    const shape = layout("x", "", { shapes, height: 320, yaxis: { range, tickformat: ".3~g" }, xaxis: { range: [xs[0], xs[xs.length - 1]] } });
    draw(node, traces, { ...shape, margin: { l: 44, r: 12, t: 8, b: 44 } });
  }

  return { progress, pareto, shrinkage, response, layout, draw, colour, faint, plain, cut, INK, MOST };
})();
