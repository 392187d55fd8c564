"use strict";
// The page: sections about one search or several, and the panel of a layer. Its address says what is open.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const runs = data.runs.map(prepared);
  const state = { run: 0, byCost: false, objective: 0 };
  const page = document.getElementById("page");
  const { panel, open, openAddress } = Opened.make(runs, data.quantiles);
  const { element } = Dom;

  // Rows instead of columns, and who is whose child.
  function prepared(run, place) {
    const columns = Object.entries(run.layers);
    const size = columns.length ? columns[0][1].length : 0;
    const rows = Array.from({ length: size }, (_, at) => Object.fromEntries(columns.map(([name, values]) => [name, values[at]])));
    const children = new Map();
    for (const row of rows) {
      if (row.parent === null) continue;
      const parent = String(row.parent);
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(row);
    }
    const title = Opened.titles(data.runs.map((other) => other.folder))[place];
    return { ...run, place, rows, children, title, byId: new Map([...run.baselines, ...rows].map((row) => [row.id, row])) };
  }

  const scored = (run) => run.rows.filter((row) => row.score !== null);
  const bestOf = (run) => { // as `evonas top` ranks
    if (run.leaders.length) return run.byId.get(String(run.leaders[run.leaders.length - 1][2]));
    return scored(run).reduce((best, row) => (best === null || row.score > best.score ? row : best), null);
  };
  const link = (run, row, text) => element("button", { type: "button", class: "link", "data-open": row.id, click: () => open(run.place, row.id) }, text ?? `#${row.id}`);

  function overview() {
    const raced = runs.some((run) => run.leaders.length);
    const heads = ["search", "state", "best layer", "score", raced ? "posterior" : null, "candidates", "scored", "core time", "best baseline"];
    const rows = runs.map((run) => {
      const best = bestOf(run);
      const known = run.baselines.filter((row) => row.score !== null).sort((a, b) => b.score - a.score)[0];
      return [
        element("span", { title: run.folder }, run.title), Dom.badge(run.state),
        best ? element("span", {}, link(run, best), " ", element("code", { class: "clip" }, best.formula)) : "none yet",
        best ? Format.score(best.score) : "", best && best.posterior ? `${best.posterior[0].toFixed(4)} \u00b1 ${best.posterior[1].toFixed(4)}` : "",
        Format.count(run.rows.length), Format.count(scored(run).length), Format.duration(run.cost),
        known ? element("span", {}, link(run, known, known.id), ` ${Format.score(known.score)}`) : "",
      ];
    });
    const kept = (cells) => cells.filter((_, place) => heads[place] !== null);
    return Dom.table(kept(heads), rows.map(kept), ["score", "candidates", "scored", "core time", "posterior"]);
  }

  function choice(names, chosen, choose, label) {
    const select = element("select", { "aria-label": label, change: () => choose(Number(select.value)) },
      names.map((name, place) => element("option", { value: place }, name)));
    select.value = String(chosen);
    return select;
  }

  const nothing = (id, title) => (runs.some((run) => scored(run).length) ? null : Dom.section(id, title, Dom.note("No layer has a score yet.")));

  function progressSection() {
    const empty = nothing("progress", "Progress");
    if (empty) return empty;
    const chart = element("div", { class: "chart tall" });
    const draw = () => Charts.progress(chart, runs, state.byCost, open);
    const select = choice(["by candidate", "by core-seconds"], 0, (value) => {
      state.byCost = value === 1;
      draw();
    }, "horizontal axis");
    later.push(draw);
    const first = runs.length > 1 ? ` Dotted: the baselines of ${runs[0].title}.` : " Dotted: the baselines.";
    return Dom.section("progress", "Progress", select, chart, Dom.note(`The best mean score so far, larger is better; a click on a mark opens its layer.${first}`));
  }

  function objectives() {
    const extras = [...new Set(runs.flatMap((run) => run.extras))];
    const named = extras.map((name) => {
      const [sign, meaning] = data.objectives[name] || [-1, ""];
      return { title: `${name} (${sign > 0 ? "higher" : "lower"} is better)`, sign, meaning, value: (row) => (row.extras ? row.extras[name] : NaN) };
    });
    return [{ title: "nodes (lower is better)", sign: -1, meaning: "", value: (row) => row.nodes }, ...named];
  }

  function frontSection() {
    const empty = nothing("front", "Pareto front");
    if (empty) return empty;
    const many = runs.some((run) => scored(run).length > Charts.MOST) ? ` Of each search the ${Format.count(Charts.MOST)} best layers are drawn.` : "";
    const chart = element("div", { class: "chart tall" });
    const all = objectives();
    const draw = () => Charts.pareto(chart, runs, all[state.objective], open);
    later.push(draw);
    const select = all.length > 1 ? choice(all.map((one) => one.title), 0, (value) => {
      state.objective = value;
      draw();
    }, "other objective") : null;
    return Dom.section("front", "Pareto front", select, chart, Dom.note(`The front holds the layers that no other one beats in both. A click on a point opens its layer; dragging looks closer, a double click looks at all again.${many}`));
  }

  function funnelSection(run) {
    const most = Math.max(...run.funnel.map((stage) => stage.reached), 1);
    const rows = run.funnel.map(({ stage, reached, ended, reasons }) => {
      const share = reached > 0 ? Math.log1p(reached) / Math.log1p(most) : 0;
      const bar = element("div", { class: `bar ${stage === "scored" ? "scored" : ""}` });
      bar.style.width = `${100 * share}%`;
      const head = [element("span", { class: "stage" }, stage), element("span", { class: "track" }, bar),
        element("span", { class: "number" }, Format.count(reached)), element("span", { class: "number faint" }, ended ? `\u2212${Format.count(ended)}` : "")];
      if (!reasons.length) return element("div", { class: "funnel plain" }, head);
      return element("details", {}, element("summary", { class: "funnel" }, head),
        Dom.table(["reason", "proposals"], reasons.map(([reason, count]) => [reason, Format.count(count)]), ["proposals"]));
    });
    return Dom.section("funnel", "What became of all proposals", element("div", { class: "funnels" }, rows),
      Dom.note("How many proposals reached each stage, and how many it rejected. Bars are on a logarithmic scale; a click shows the reasons."));
  }

  function statisticsSection(run) {
    const kinds = Dom.table(["operator", "tried", "scored", "best", "mean gain over parent", "better than parent"],
      run.operators.map((row) => [row.kind, Format.count(row.tried), Format.count(row.scored), Format.score(row.best), Format.signed(row.gain),
        row.compared ? `${row.better} of ${row.compared}` : ""]), ["tried", "scored", "best", "mean gain over parent", "better than parent"]);
    const families = Dom.table(["best layer", "formula", "best", "mean", "relatives"],
      run.families.map((row) => [link(run, { id: row.best }), element("code", { class: "clip" }, row.formula), Format.score(row.score), Format.score(row.mean), Format.count(row.members)]), ["best", "mean", "relatives"]);
    return Dom.section("statistics", "Operators and families", run.rows.length ? kinds : Dom.note("There are no candidates yet."),
      run.rows.length ? Dom.note("Gains compare a scored layer with its scored parent.") : [],
      run.families.length ? [element("h3", {}, "Families with the best layers"), families, Dom.note("Relatives differ only in the order of operands, in numbers that multiply and in the sign of the whole.")] : []);
  }

  function shrinkageSection(run) {
    if (!run.rows.some((row) => row.posterior)) {
      return Dom.section("again", "Measured again", Dom.note("This search measured none of its layers again: [racing] is off, or nothing was measured yet."));
    }
    const chart = element("div", { class: "chart tall" });
    later.push(() => Charts.shrinkage(chart, run, open));
    return Dom.section("again", "Measured again", chart, Dom.note("Scores when found against what is believed after the best layers were measured again under other conditions. Layers that were chosen because they scored high fall."));
  }

  function tableSection(run) {
    const number = (name, width, value, show) => ({ name, width, value, show, number: true });
    const raced = run.rows.some((row) => row.posterior);
    const columns = [
      number("#", "64px", (row) => Number(row.id), (row) => element("button", { type: "button", class: "link" }, row.id)),
      number("score", "84px", (row) => row.score, (row) => Format.score(row.score)),
      raced ? number("posterior", "96px", (row) => (row.posterior && !row.posterior[3] ? row.posterior[0] : null), (row) => (row.posterior && !row.posterior[3] ? Format.score(row.posterior[0]) : "")) : null,
      ...run.extras.map((name) => number(name, "110px", (row) => (row.extras ? row.extras[name] : null), (row) => Format.short(row.extras ? row.extras[name] : null))),
      { name: "formula", width: "minmax(220px, 3fr)", value: (row) => row.formula, show: (row) => element("code", { title: row.formula }, row.formula) },
      { name: "stage", width: "96px", value: (row) => row.stage, show: (row) => row.stage },
      { name: "operator", width: "190px", value: (row) => row.kind, show: (row) => row.kind },
      number("parent", "74px", (row) => row.parent, (row) => (row.parent === null ? "" : String(row.parent))),
      number("nodes", "70px", (row) => row.nodes, (row) => String(row.nodes)),
      number("seconds", "84px", (row) => row.seconds, (row) => row.seconds.toFixed(1)),
    ].filter(Boolean);
    const table = LongTable.make({
      rows: run.rows, columns, label: "layers", first: raced ? 2 : 1, open: (row) => open(run.place, row.id),
      choices: [{ name: "stage", value: (row) => row.stage }, { name: "operator", value: (row) => row.kind }],
      words: (row) => [`#${row.id}`, row.formula, row.text, row.operator, row.key, ...(row.rejection || []), ...(row.origin || [])].join(" "),
    });
    later.push(table.refresh);
    return Dom.section("layers", "All layers", table.node);
  }

  // What draws charts, once their nodes are on the page.
  const later = [];

  function build() {
    later.length = 0;
    const run = runs[state.run];
    const tabs = Opened.tabs(runs, state.run, choose, "search", Charts.colour);
    const title = runs.length > 1 ? `${runs.length} searches` : run.title;
    page.replaceChildren(
      element("header", { class: "top" }, element("h1", {}, title), element("p", { class: "note" },
        `${runs.length > 1 ? "" : `${run.folder}; `}written ${data.written} by evonas ${data.version}${runs.some((one) => one.state === "running") ? "; a search was still running" : ""}`)),
      overview(), progressSection(), frontSection(), tabs,
      funnelSection(run), statisticsSection(run), shrinkageSection(run),
      run.reranking ? Result.reranking(run.reranking, (id) => open(run.place, id), later) : "", tableSection(run), howItWasMade(run), panel);
    later.forEach((draw) => draw());
  }

  function choose(place) {
    state.run = place;
    build();
    document.querySelector(".tabs").scrollIntoView({ block: "start" });
  }

  build();
  openAddress();
})();
