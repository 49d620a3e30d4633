// At the end: the batch that was made, how the rows tried first went, and the same as Python.

function batchPage(view) {
  const { batch, python } = view.snapshot;
  return [
    h("h2", { key: "title", tabindex: -1, ref: (title) => arrive(view, title) }, "The batch was made"),
    batch.failure ? h("div", { key: "failure", class: "bk-notice bk-error", role: "alert" }, h("strong", null, "Error:"),
      h("span", { class: "bk-notice-text" }, `The batch cannot be read at the moment; what is shown may be old. ${batch.failure}`)) : null,
    batch.trial ? trialOf(view, batch) : null,
    downloadState(view),
    h("ul", { key: "cards", class: "bk-cards" }, cardOf(view, batch.card, { keeping: false })),
    h("div", { key: "after", class: "bk-buttons" },
      h("button", { class: "bk-button", type: "button", "aria-expanded": String(Boolean(python)), onclick: () => view.intend("show_python") }, "Show as Python"),
      h("button", { class: "bk-button", type: "button", onclick: () => { view.local.leaving = true; view.intend("again"); } }, "Make another batch")),
    python ? pythonOf(view, python) : null,
    whereOthersAre(view),
  ];
}

function whereOthersAre(view) {
  const { dashboard, platform } = view.snapshot;
  return h("p", { key: "hint", class: "bk-muted bk-hint" }, `It runs on ${platform}. All batches are in the dashboard: `,
    dashboard ? h("a", { href: dashboard }, "Batches") : h("code", null, "ws.dashboard()"), ".");
}

function trialOf(view, { tried, asks, rest, card, trial, standing }) {
  const busy = view.local.busy?.has(card.id);
  return h("section", { key: "trial", class: "bk-panel", "aria-labelledby": view.id("trial") },
    h("h3", { id: view.id("trial") }, `The first ${counted(trial, "row")}`),
    h("p", { role: "status" }, standing),
    h("div", { class: "bk-scroll", tabindex: 0, role: "group", "aria-labelledby": view.id("trial") },
      h("table", { class: "bk-table" },
        h("thead", null, h("tr", null, ["Row", "Status", "Execution", "How it went"].map((text) => h("th", { key: text, scope: "col" }, text)))),
        h("tbody", null, tried.map((row) => h("tr", { key: row.row },
          h("th", { scope: "row" }, number(row.row)),
          h("td", null, row.status),
          h("td", null, row.url ? h("a", { href: row.url, target: "_blank", rel: "noopener noreferrer" }, row.execution || "Open") : row.execution || "–",
            row.outcome ? ` (${row.outcome})` : ""),
          h("td", { class: "bk-said" }, row.said || "–")))))),
    asks ? h("div", { class: "bk-buttons" },
      press(view, `Go on with ${others(rest).toLowerCase()}`, { key: "go-on", primary: true, off: busy || !card.commands.includes("resume"), run: () => send(view, "resume", card) }),
      press(view, "Stop here…", { key: "stop", danger: true, off: busy || !card.commands.includes("cancel"), run: () => askCancel(view, card) })) : null);
}

function pythonOf(view, python) {
  const copied = view.local.copied === python;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(python);
      view.local.copied = python;
    } catch {
      view.local.selectWanted = true;
    }
    view.redraw();
  };
  return h("section", { key: "python", class: "bk-panel", "aria-labelledby": view.id("python") },
    h("div", { class: "bk-row bk-spread" },
      h("h3", { id: view.id("python") }, "The same as a cell"),
      h("button", { class: "bk-button", type: "button", onclick: copy }, copied ? "Copied" : "Copy")),
    view.local.selectWanted ? h("p", { class: "bk-muted" }, "The browser does not allow copying here: select the text and copy it.") : null,
    h("pre", { class: "bk-code", tabindex: 0, "aria-labelledby": view.id("python") }, python));
}
