"use strict";
// The layer that is open in the panel, and the address of the page, which names it and the values that it is computed with.
const Opened = (() => {
  // runs: [{place, title, eps, byId, children}]; children may be missing where nothing has parents
  function make(runs, quantiles) {
    const state = { layer: null, setting: Response.start() };
    const panel = Dom.element("aside", { id: "layer", "aria-label": "layer", tabindex: -1, hidden: "hidden" });

    function address() {
      if (state.layer === null) return "";
      const [place, id] = state.layer;
      const parts = new URLSearchParams(runs.length > 1 ? { run: place + 1, layer: id } : { layer: id });
      const first = Response.start();
      Response.names.filter((name) => state.setting[name] !== first[name]).forEach((name) => parts.set(name, state.setting[name]));
      return `#${parts}`;
    }

    function remember() {
      try {
        history.replaceState(null, "", address() || location.pathname + location.search);
      } catch { // some browsers refuse it for files; the page works without
      }
    }

    function open(place, id) {
      const run = runs[place];
      const row = run && run.byId.get(String(id));
      if (!row) return;
      state.layer = [place, row.id];
      panel.hidden = false;
      LayerPanel.show(panel, run, row, quantiles, state.setting, { open, close, changed: remember, several: runs.length > 1 })();
      panel.focus({ preventScroll: true });
      remember();
    }

    function close() {
      state.layer = null;
      panel.hidden = true;
      remember();
    }

    function openAddress() {
      const asked = new URLSearchParams(location.hash.slice(1));
      for (const name of Response.names) {
        const value = Number(asked.get(name));
        if (asked.get(name) && Number.isFinite(value) && (name !== "sigma" || value >= 0)) state.setting[name] = value;
      }
      if (asked.get("layer")) open(Number(asked.get("run") || 1) - 1, asked.get("layer"));
    }

    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && state.layer !== null) close();
    });
    window.addEventListener("hashchange", openAddress);
    return { panel, open, openAddress };
  }

  // What distinguishes runs: the last part of their folders, or all of it where two share that.
  function titles(folders) {
    const names = folders.map((folder) => folder.split("/").filter(Boolean).pop() || folder);
    return names.map((name, place) => (names.filter((other) => other === name).length > 1 ? folders[place] : name));
  }

  // Buttons of which each chooses a run; `colour` gives that of its lines, where there is one.
  function tabs(runs, chosen, choose, label, colour) {
    if (runs.length < 2) return "";
    return Dom.element("nav", { class: "tabs", "aria-label": label }, runs.map((one) => {
      const mark = colour ? Dom.element("i") : null;
      if (mark) mark.style.background = colour(one.place);
      return Dom.element("button", { type: "button", "aria-pressed": one.place === chosen ? "true" : "false", click: () => choose(one.place) }, mark, one.title);
    }));
  }

  return { make, titles, tabs };
})();

// How a run was made: what to type, where it ran, and its settings.
function howItWasMade(run) {
  return Dom.section("configuration", "How it was made",
    Dom.element("h3", {}, "Commands"), run.commands.map(([what, command]) => Dom.element("div", { class: "command" }, Dom.element("span", {}, what), Dom.code(command))),
    run.commands.length ? [] : Dom.note("The folder does not say by which command it was made."),
    Dom.element("h3", {}, "Environment"), Object.keys(run.environment).length ? Dom.facts(Object.entries(run.environment)) : Dom.note("The folder has no environment.json."),
    Dom.element("h3", {}, "Configuration"), run.config
      ? Dom.element("details", {}, Dom.element("summary", {}, "config.toml"), Dom.element("pre", {}, run.config))
      : Dom.note("The folder has no config.toml."));
}
