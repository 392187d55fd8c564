"use strict";
// What a page shows of a result: a study, an evaluation, a reranking or a certificate.
const Result = (() => {
  const { element } = Dom;

  // What names in tables open: those of layers, and their formulas.
  function namesOf(result, open) {
    const found = new Map();
    for (const layer of result.layers) {
      const opens = () => open(layer.id);
      found.set(layer.id, opens);
      if (!found.has(layer.formula)) found.set(layer.formula, opens);
    }
    return found;
  }

  function chartSection(chart, place, open, later) {
    const node = element("div", { class: "chart" });
    const id = `chart-${place + 1}`;
    if (chart.kind === "lines") {
      later.push(() => Plots.lines(node, chart));
      return Dom.section(id, chart.title, node, Dom.note(chart.note));
    }
    const state = { to: Object.keys(chart.sets)[0] };
    state.of = Object.keys(chart.sets[state.to])[0];
    const draw = () => Plots.intervals(node, chart.sets[state.to][state.of], `${chart.xlabel} ${state.to}`, chart.better, open);
    const choose = (key, names, label) => {
      const select = element("select", { "aria-label": label, change: () => {
        state[key] = select.value;
        draw();
      } }, names.map((name) => element("option", { value: name }, `${key === "to" ? `to ${name}` : name}`)));
      return names.length > 1 ? select : null;
    };
    later.push(draw);
    return Dom.section(id, chart.title, element("div", { class: "axes" }, choose("to", Object.keys(chart.sets), "difference to"),
      choose("of", Object.keys(chart.sets[state.to]), "difference of")), node, Dom.note(chart.note));
  }

  function layerSection(result, open) {
    if (!result.layers.length) return "";
    const rows = result.layers.map((layer) => [
      element("button", { type: "button", class: "link", "data-open": layer.id, click: () => open(layer.id) }, layer.id),
      Format.score(layer.score), element("code", { class: "clip", title: layer.formula }, layer.formula), String(layer.nodes),
    ]);
    return Dom.section("layers", "Layers", Dom.table(["layer", "score", "formula", "nodes"], rows, ["score", "nodes"]),
      Dom.note("A click on a name opens the layer: its formula, its graph, and a response curve that this page computes."));
  }

  function pictureSection(result) {
    if (!result.pictures.length && !result.left_out.length) return "";
    const drawn = result.pictures.map(([name, content]) => element("figure", {},
      element("figcaption", {}, name), element("img", { src: `data:image/png;base64,${content}`, alt: name, loading: "lazy" })));
    const missing = result.left_out.length ? Dom.note(`Not shown, as they are no PNG files or too large: ${result.left_out.join(", ")}.`) : null;
    return Dom.section("pictures", "Pictures", element("div", { class: "pictures" }, drawn), missing);
  }

  // The report without its title.
  const bodyOf = (result) => result.text.filter(([kind, level], place) => !(place === 0 && kind === "heading" && level === 1));

  // The sections of a result. `open` opens a layer by its name; what draws charts, once they are on the page, joins `later`.
  function sections(result, open, later) {
    const byName = namesOf(result, open);
    Blocks.later.length = 0;
    const report = bodyOf(result).map((block) => Blocks.block(block, byName));
    const explorer = Object.keys(result.runs).length ? Explorer.make({ ...result.runs, ...result.together }, result.axes) : null;
    if (explorer) later.push(explorer.refresh);
    const runs = Object.keys(result.runs).length ? Dom.section("runs", "All runs",
      explorer ? [explorer.node, Dom.note("Each point is the mean over the rows that share line, panel and place; bars are one standard deviation of these rows.")] : [],
      Blocks.runs(result.runs, byName)) : "";
    later.push(...Blocks.later);
    return [
      result.charts.map((chart, place) => chartSection(chart, place, open, later)),
      Dom.section("report", "Report", report), layerSection(result, open), runs, pictureSection(result), howItWasMade(result),
    ];
  }

  // The same of a reranking within the page of its search, in one section; `open` opens a candidate or a baseline.
  function reranking(result, open, later) {
    const ids = new Map(result.layers.map((layer) => [layer.id, layer.candidate ?? layer.id]));
    const byName = namesOf(result, (name) => open(ids.get(name)));
    Blocks.later.length = 0;
    const [chart] = result.charts;
    const drawn = chart ? [...chartSection(chart, 0, (name) => open(ids.get(name)), later).childNodes].slice(1) : [];
    const report = bodyOf(result).map((block) => Blocks.block(block, byName));
    later.push(...Blocks.later);
    return Dom.section("reranking", "Reranking", Dom.note("The best layers, trained again under fresh seeds; names are ranks in the search."), drawn, report);
  }

  const titleOf = (result) => (result.text.length && result.text[0][0] === "heading" ? Blocks.lettersOf(result.text[0][2]) : result.title);

  return { sections, reranking, titleOf };
})();
