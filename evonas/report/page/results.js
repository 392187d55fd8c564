"use strict";
// The page of results: studies, evaluations, rerankings and certificates, one at a time.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const titles = Opened.titles(data.results.map((result) => result.folder));
  const results = data.results.map((result, place) => ({ ...result, place, title: titles[place], byId: new Map(result.layers.map((layer) => [layer.id, layer])) }));
  const page = document.getElementById("page");
  const opened = Opened.make(results, data.quantiles);
  let chosen = 0;

  function build() {
    const result = results[chosen];
    const later = [];
    const tabs = Opened.tabs(results, chosen, (place) => {
      chosen = place;
      build();
    }, "results");
    page.replaceChildren(
      Dom.element("header", { class: "top" }, Dom.element("h1", {}, results.length > 1 ? `${results.length} results` : Result.titleOf(result)),
        Dom.note(`${results.length > 1 ? "" : `${result.noun}, ${result.folder}; `}written ${data.written} by evonas ${data.version}`)),
      tabs, results.length > 1 ? Dom.element("h2", { class: "one" }, Result.titleOf(result), Dom.element("span", { class: "note" }, ` ${result.noun}, ${result.folder}`)) : "",
      ...Result.sections(result, (id) => opened.open(result.place, id), later).flat(Infinity), opened.panel);
    later.forEach((draw) => draw());
  }

  const asked = Number(new URLSearchParams(location.hash.slice(1)).get("run") || 1) - 1;
  if (results[asked]) chosen = asked;
  build();
  opened.openAddress();
})();
